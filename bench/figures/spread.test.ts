import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ratiosOf, spreadOf } from "./spread.ts";

describe("the spread of figures", () => {
  it("has the middle one of an odd number, whatever their order", () => {
    assert.deepEqual(spreadOf([9, 1, 5]), { median: 5, low: 1, high: 9 });
  });

  it("has the mean of the two in the middle of an even number", () => {
    assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, low: 1, high: 4 });
  });

  it("sorts by size and not by spelling", () => {
    assert.deepEqual(spreadOf([100, 9, 20]), { median: 20, low: 9, high: 100 });
  });

  it("of nothing is an error", () => {
    assert.throws(() => spreadOf([]));
  });
});

describe("ratios", () => {
  it("are taken round by round", () => {
    assert.deepEqual(ratiosOf([10, 40], [5, 10]), [2, 4]);
  });

  it("need a reference for each figure, above zero", () => {
    assert.throws(() => ratiosOf([1, 2], [1]));
    assert.throws(() => ratiosOf([1], [0]));
  });
});
