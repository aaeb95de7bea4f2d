import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { outageRung, RETRY_LIMIT, RUNG_SLACK_MS, retryRungFor, rungFor, rungs } from "./ladder.ts";

const HOUR_MS = 3_600_000;
const THIRTY_DAYS_MS = 30 * 24 * HOUR_MS;

test("a delay takes the longest rung that leaves time to spare", () => {
  const table: [number, string | undefined][] = [
    [-1, undefined],
    [0, undefined],
    [1_249, undefined],
    [1_250, "1s"],
    [5_249, "1s"],
    [5_250, "5s"],
    [60_000, "15s"],
    [60_250, "1m"],
    [899_000, "5m"],
    [2 * HOUR_MS, "1h"],
    [24 * HOUR_MS, "6h"],
    [24 * HOUR_MS + 250, "24h"],
    [THIRTY_DAYS_MS, "24h"],
    [Number.MAX_SAFE_INTEGER, "24h"],
  ];
  for (const [remainingMs, name] of table)
    assert.equal(rungFor(remainingMs)?.name, name, `${remainingMs} ms`);
});

test("the rungs go down, so that the first that fits is the longest", () => {
  const delays = rungs.map((rung) => rung.delayMs);
  assert.deepEqual(
    delays,
    delays.toSorted((one, other) => other - one),
  );
});

test("a walk down the ladder ends before its time, within the last hold, and in few hops", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: THIRTY_DAYS_MS }),
      fc.array(fc.integer({ min: 0, max: RUNG_SLACK_MS }), { minLength: 1, maxLength: 80 }),
      (delayMs, latenessMs) => {
        let remainingMs = delayMs;
        let hops = 0;
        for (let rung = rungFor(remainingMs); rung; rung = rungFor(remainingMs)) {
          remainingMs -= rung.delayMs + (latenessMs[hops % latenessMs.length] ?? 0);
          hops += 1;
          assert.ok(remainingMs >= 0, `${delayMs} ms was ${-remainingMs} ms late`);
        }
        assert.ok(remainingMs < 1_000 + RUNG_SLACK_MS, `${remainingMs} ms were left to hold`);
        assert.ok(hops <= 80, `${hops} hops`);
      },
    ),
  );
});

test("retries wait ever longer and are limited", () => {
  const pauses = Array.from({ length: RETRY_LIMIT }, (_, index) => retryRungFor(index + 1)?.delayMs ?? 0);
  assert.equal(RETRY_LIMIT, 10);
  assert.ok(pauses.every((pauseMs) => pauseMs > 0));
  assert.deepEqual(
    pauses,
    pauses.toSorted((one, other) => one - other),
  );
  assert.equal(retryRungFor(RETRY_LIMIT + 1), undefined);
  assert.equal(retryRungFor(0), undefined);
  assert.equal(outageRung.name, "5s");
});
