import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addLatency, mergeLatencies, noLatencies, percentileMs } from "./latency.ts";

function latenciesOf(...milliseconds: number[]) {
  const latencies = noLatencies();
  for (const one of milliseconds) addLatency(latencies, one);
  return latencies;
}

function isNear(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= expected * 0.002, `${actual} is not ${expected}`);
}

describe("latencies", () => {
  it("are kept to three digits, from microseconds to a minute", () => {
    isNear(percentileMs(latenciesOf(0.123), 50), 0.123);
    isNear(percentileMs(latenciesOf(12_345), 50), 12_345);
  });

  it("above a minute count as a minute, and below a microsecond as one", () => {
    isNear(percentileMs(latenciesOf(100_000), 100), 60_000);
    isNear(percentileMs(latenciesOf(0), 100), 0.001);
  });

  it("are merged as if one histogram had counted them all", () => {
    const [one, other] = [
      [1, 2, 3, 4],
      [10, 20, 30, 40, 50, 60],
    ];
    const merged = mergeLatencies([latenciesOf(...one), latenciesOf(...other)]);
    const together = latenciesOf(...one, ...other);
    assert.equal(merged.totalCount, 10);
    for (const percent of [10, 50, 90, 99, 100]) {
      assert.equal(percentileMs(merged, percent), percentileMs(together, percent));
    }
  });

  it("of nothing are 0", () => {
    assert.equal(percentileMs(noLatencies(), 99), 0);
  });
});
