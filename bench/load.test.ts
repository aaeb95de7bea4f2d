import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { percentileMs } from "./figures/latency.ts";
import { runClosedLoad, runOpenLoad, sumOutcomes, type Work } from "./load.ts";

const TOOK_MS = 20;
const soon: Work = (done) => setTimeout(() => done("OK"), TOOK_MS);

describe("a closed load", () => {
  it("has as many units under way as there are callers, and ends with the last answer", async () => {
    let underWay = 0;
    let most = 0;
    const work: Work = (done) => {
      underWay += 1;
      most = Math.max(most, underWay);
      soon((outcome) => {
        underWay -= 1;
        done(outcome);
      });
    };
    const load = await runClosedLoad({ callers: 7, warmUpMs: 0, durationMs: 200, work });
    assert.equal(most, 7);
    assert.equal(underWay, 0);
    assert.ok(load.perSecond > 0 && load.perSecond <= (7 * 1_000) / TOOK_MS);
  });

  it("counts every outcome, and the latencies of failures apart", async () => {
    let turn = 0;
    const work: Work = (done) => {
      turn += 1;
      const outcome = turn % 2 === 0 ? "OK" : "REFUSED";
      setImmediate(() => done(outcome));
    };
    const load = await runClosedLoad({ callers: 1, warmUpMs: 0, durationMs: 30, work });
    const outcomes = sumOutcomes([load]);
    assert.equal((outcomes.get("OK") ?? 0) + (outcomes.get("REFUSED") ?? 0), turn);
    assert.equal(load.latencies.totalCount, outcomes.get("OK"));
    assert.equal(load.failureLatencies.totalCount, outcomes.get("REFUSED"));
  });
});

describe("an open load", () => {
  it("keeps its rate although the answers are slow", async () => {
    let sent = 0;
    const work: Work = (done) => {
      sent += 1;
      soon(done);
    };
    await runOpenLoad({ perSecond: 500, warmUpMs: 0, durationMs: 200, work });
    // Whoever waits for each answer sends 10; what falls due in a pause at the end is not sent.
    assert.ok(sent > 30 && sent <= 101, `${sent} were sent`);
  });

  it("counts latencies by the part in which a unit was due", async () => {
    const startedAt = performance.now();
    const work: Work = (done) => setTimeout(() => done("OK"), performance.now() - startedAt < 150 ? 0 : 40);
    const load = await runOpenLoad({ perSecond: 200, warmUpMs: 50, durationMs: 200, work, partMs: 100 });
    assert.equal(load.parts.length, 2);
    const [quick, slow] = load.parts.map((part) => percentileMs(part, 50));
    assert.ok((slow ?? 0) >= 40 && (quick ?? 0) < (slow ?? 0), `${quick} ms, then ${slow} ms`);
    const counted = load.parts.reduce((sum, { totalCount }) => sum + totalCount, 0);
    assert.ok(counted <= load.latencies.totalCount, "those of the warm-up are in no part");
  });

  it("counts the time that a unit had to wait before it was sent", async () => {
    let first = true;
    const work: Work = (done) => {
      const until = performance.now() + (first ? 100 : 0);
      first = false;
      // Whoever blocks the sender delays all that were due meanwhile.
      while (performance.now() < until);
      setImmediate(() => done("OK"));
    };
    const load = await runOpenLoad({ perSecond: 200, warmUpMs: 0, durationMs: 150, work });
    assert.ok(percentileMs(load.latencies, 50) > 20);
  });

  it("ends early when it is told to", async () => {
    let isOver = false;
    setTimeout(() => {
      isOver = true;
    }, 50);
    const startedAt = performance.now();
    await runOpenLoad({ perSecond: 100, warmUpMs: 0, durationMs: 60_000, work: soon, isOver: () => isOver });
    assert.ok(performance.now() - startedAt < 10_000);
  });
});
