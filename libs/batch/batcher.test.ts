import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { DomainError } from "#libs/reasons";
import { type BatcherOptions, createBatcher, type Outcome } from "./index.ts";

class BadCall extends Error {}

/** A batcher over numbers that writes down its batches; it holds each of them until `release` if `held`. */
function recorder(changes: Partial<BatcherOptions<number, number>> = {}) {
  const batches: { key: string; calls: readonly number[] }[] = [];
  const held: (() => void)[] = [];
  const state = { hold: false };
  const batcher = createBatcher<number, number>({
    name: "test",
    maxBatch: 4,
    maxWaiting: 100,
    splitsOn: (error) => error instanceof BadCall,
    execute: async (calls, key) => {
      batches.push({ key, calls });
      if (state.hold) await new Promise<void>((resolve) => held.push(resolve));
      return calls.map((call): Outcome<number> => ({ ok: true, value: call * 2 }));
    },
    ...changes,
  });
  const release = () => held.shift()?.();
  return { batcher, batches, state, release };
}

const key = "demo";

describe("a batcher", () => {
  test("carries a lone call out at once", async () => {
    const { batcher, batches } = recorder();
    assert.equal(await batcher.submit(21, { key }), 42);
    assert.deepEqual(batches, [{ key, calls: [21] }]);
  });

  test("gathers what arrives while a batch is under way, in order", async () => {
    const { batcher, batches, state, release } = recorder();
    state.hold = true;
    const first = batcher.submit(1, { key });
    await turn();
    const rest = [2, 3, 4].map((call) => batcher.submit(call, { key }));
    state.hold = false;
    release();
    assert.deepEqual(await Promise.all([first, ...rest]), [2, 4, 6, 8]);
    assert.deepEqual(
      batches.map(({ calls }) => calls),
      [[1], [2, 3, 4]],
    );
  });

  test("waits for as many calls as go on elsewhere, and for nothing once none does", async () => {
    let goingOn = 3;
    const { batcher, batches } = recorder({ goingOn: () => goingOn });
    const calls = () => batches.map(({ calls: those }) => those);
    const first = [1, 2].map((call) => batcher.submit(call, { key }));
    await turn();
    await turn();
    assert.deepEqual(calls(), []);
    first.push(batcher.submit(3, { key }));
    await Promise.all(first);
    assert.deepEqual(calls(), [[1, 2, 3]]);
    const lone = batcher.submit(4, { key });
    await turn();
    await turn();
    assert.equal(batcher.waiting(), 1);
    goingOn = 0;
    batcher.reconsider();
    assert.equal(await lone, 8);
    assert.equal(await batcher.submit(5, { key }), 10, "nothing goes on");
  });

  test("waits for no more calls than fit into a batch", async () => {
    const { batcher, batches } = recorder({ goingOn: () => 100 });
    await Promise.all([1, 2, 3, 4].map((call) => batcher.submit(call, { key })));
    assert.equal(batches.length, 1);
  });

  test("does not wait for ever for calls that hang elsewhere", async () => {
    const { batcher } = recorder({ goingOn: () => 3 });
    assert.equal(await batcher.submit(1, { key }), 2);
    const stopped = batcher.submit(2, { key });
    await batcher.stop();
    assert.equal(await stopped, 4);
  });

  test("waits half as long as a crowd took for its callers to come again", async (t) => {
    let now = 1_000;
    let goingOn = 0;
    t.mock.method(performance, "now", () => now);
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { batcher, batches } = recorder({ maxBatch: 100, maxWaiting: 200, goingOn: () => goingOn });
    const sizes = () => batches.map(({ calls }) => calls.length);
    const send = (count: number) =>
      Array.from({ length: count }, (_, index) => batcher.submit(index, { key }));
    const answers = send(40);
    await Promise.all(answers);
    goingOn = 40;
    answers.push(...send(40));
    await turn();
    await turn();
    assert.deepEqual(sizes(), [40, 40], "as many as go on");
    goingOn = 80;
    answers.push(...send(10));
    now += 20;
    for (; goingOn > 0; goingOn -= 1) batcher.reconsider();
    batcher.reconsider();
    await turn();
    await turn();
    assert.deepEqual(sizes(), [40, 40], "the way was of 20 ms, so 10 more");
    now += 9;
    t.mock.timers.tick(9);
    answers.push(...send(37));
    await turn();
    await turn();
    assert.deepEqual(sizes(), [40, 40], "47 wait");
    answers.push(...send(1));
    await Promise.all(answers);
    assert.deepEqual(sizes(), [40, 40, 48], "most of a large batch");
    now += 2;
    batcher.reconsider();
    answers.push(...send(3));
    await turn();
    await turn();
    assert.deepEqual(sizes(), [40, 40, 48], "the others may come");
    now += 1;
    t.mock.timers.tick(1);
    await Promise.all(answers);
    assert.deepEqual(sizes(), [40, 40, 48, 3], "they did not");
  });

  test("lets all go that have waited for too long, whatever their keys", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { batcher, batches } = recorder({ goingOn: () => 4 });
    const calls = ["one", "two", "three"].map((tenant, index) => batcher.submit(index, { key: tenant }));
    await turn();
    assert.equal(batches.length, 0);
    t.mock.timers.tick(1_000);
    // No more time passes: a batch that waited as long again would stay.
    for (let turns = 0; batches.length < 3 && turns < 10; turns += 1) await turn();
    assert.equal(batches.length, 3);
    assert.deepEqual(await Promise.all(calls), [0, 2, 4]);
  });

  test("starts the next batch before it tells the answers of the last, and tells few at a time", async () => {
    const told: number[] = [];
    const { batcher, batches, state, release } = recorder({ answersATurn: 2 });
    state.hold = true;
    const first = [1, 2, 3, 4].map((call) => batcher.submit(call, { key }).then(() => told.push(call)));
    await turn();
    const second = batcher.submit(5, { key });
    release();
    for (let step = 0; batches.length < 2 && step < 100; step += 1) await Promise.resolve();
    assert.equal(batches.length, 2);
    assert.deepEqual(told, []);
    await turn();
    assert.deepEqual(told, [1, 2]);
    await Promise.all(first);
    assert.deepEqual(told, [1, 2, 3, 4]);
    release();
    assert.equal(await second, 10);
  });

  test("never mixes keys, and lets them take turns", async () => {
    const { batcher, batches } = recorder({ maxBatch: 2 });
    await Promise.all([
      ...[1, 2, 3, 4].map((call) => batcher.submit(call, { key: "busy" })),
      batcher.submit(5, { key: "quiet" }),
    ]);
    assert.deepEqual(batches, [
      { key: "busy", calls: [1, 2] },
      { key: "quiet", calls: [5] },
      { key: "busy", calls: [3, 4] },
    ]);
  });

  test("refuses the call after the last that may wait, at once and with a time to come back", async () => {
    const { batcher, state, release } = recorder({ maxWaiting: 2 });
    state.hold = true;
    const accepted = [batcher.submit(1, { key })];
    await turn();
    accepted.push(batcher.submit(2, { key }), batcher.submit(3, { key }));
    await assert.rejects(batcher.submit(4, { key }), (error) => {
      return (
        error instanceof DomainError && error.reason === "OVERLOADED" && (error.data.retryAfterMs ?? 0) > 0
      );
    });
    state.hold = false;
    release();
    assert.deepEqual(await Promise.all(accepted), [2, 4, 6]);
  });

  test("does not carry out a call whose caller has gone", async () => {
    const { batcher, batches, state, release } = recorder();
    state.hold = true;
    const first = batcher.submit(1, { key });
    await turn();
    let gone = false;
    const abandoned = batcher.submit(2, { key, isAbandoned: () => gone });
    const kept = batcher.submit(3, { key });
    gone = true;
    state.hold = false;
    release();
    await assert.rejects(
      abandoned,
      (error) => error instanceof DomainError && error.reason === "CALL_CANCELLED",
    );
    assert.deepEqual(await Promise.all([first, kept]), [2, 6]);
    assert.deepEqual(batches.at(-1)?.calls, [3]);
  });

  test("does not split a batch that failed for no call's fault", async () => {
    let tries = 0;
    const { batcher } = recorder({
      execute: async () => {
        tries += 1;
        throw new Error("the database is gone");
      },
    });
    const calls = await Promise.allSettled([1, 2, 3].map((call) => batcher.submit(call, { key })));
    assert.ok(calls.every(({ status }) => status === "rejected"));
    assert.equal(tries, 1);
  });

  test("tells the first half of a batch that is split while the second is tried", async () => {
    let goOn = () => {};
    const { batcher } = recorder({
      execute: async (calls) => {
        if (calls.length > 2) throw new BadCall();
        if (calls.includes(3)) await new Promise<void>((resolve) => (goOn = resolve));
        return calls.map((value) => ({ ok: true, value }));
      },
    });
    const [first, second, ...rest] = [1, 2, 3, 4].map((call) => batcher.submit(call, { key }));
    assert.deepEqual(await Promise.all([first, second]), [1, 2]);
    const stopping = batcher.stop();
    goOn();
    assert.deepEqual(await Promise.all(rest), [3, 4]);
    await stopping;
  });

  test("answers everybody when it is left without an answer", async () => {
    const { batcher } = recorder({ execute: async () => [] });
    await assert.rejects(batcher.submit(1, { key }), /0 answers to 1 calls/);
  });

  test("stops when all accepted calls are answered, and takes no new ones", async () => {
    const { batcher, state, release } = recorder();
    state.hold = true;
    const accepted = batcher.submit(1, { key });
    await turn();
    const stopping = batcher.stop();
    await assert.rejects(batcher.submit(2, { key }), (error) => {
      return error instanceof DomainError && error.reason === "DEPENDENCY_UNAVAILABLE";
    });
    state.hold = false;
    release();
    assert.equal(await accepted, 2);
    await stopping;
    await batcher.stop();
  });

  test("answers every call by itself, in batches no larger than allowed, however many are bad", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ bad: fc.boolean(), key: fc.constantFrom("a", "b"), turns: fc.nat(2) }), {
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 3 }),
        async (calls, lanes) => {
          const executed: number[] = [];
          let underWay = 0;
          const { batcher } = recorder({
            lanes,
            execute: async (batch) => {
              underWay += 1;
              assert.ok(batch.length <= 4 && underWay <= lanes);
              await turn();
              underWay -= 1;
              if (batch.some((index) => calls[index]?.bad)) throw new BadCall();
              executed.push(...batch);
              return batch.map((index) => ({ ok: true, value: index }));
            },
          });
          const answers: Promise<number>[] = [];
          for (const [index, call] of calls.entries()) {
            for (let waited = 0; waited < call.turns; waited += 1) await turn();
            const answer = batcher.submit(index, { key: call.key });
            answer.catch(() => {});
            answers.push(answer);
          }
          const settled = await Promise.allSettled(answers);
          for (const [index, call] of calls.entries()) {
            assert.equal(settled[index]?.status, call.bad ? "rejected" : "fulfilled");
          }
          assert.equal(new Set(executed).size, executed.length);
          assert.equal(batcher.waiting(), 0);
        },
      ),
      { numRuns: 200 },
    );
  });
});
