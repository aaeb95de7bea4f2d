import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Goal, isFarOff, judge } from "./target.ts";

const atLeast: Goal = { name: "faster", direction: "at least", must: 4, aim: 7, unit: "x" };
const atMost: Goal = { name: "cheaper", direction: "at most", must: 1, aim: 0.5, unit: "ms" };

describe("a figure that must be at least something", () => {
  it("reaches the aim, the must, or is missed, by its median", () => {
    assert.equal(judge(atLeast, [1, 7, 8]).verdict, "aim");
    assert.equal(judge(atLeast, [1, 4, 8]).verdict, "must");
    assert.equal(judge(atLeast, [1, 3.9, 8]).verdict, "missed");
  });

  it("is far off only below four fifths of it", () => {
    assert.equal(isFarOff(judge(atLeast, [3.3])), false);
    assert.equal(isFarOff(judge(atLeast, [3.1])), true);
  });
});

describe("a figure that must be at most something", () => {
  it("reaches the aim, the must, or is missed, by its median", () => {
    assert.equal(judge(atMost, [0.5]).verdict, "aim");
    assert.equal(judge(atMost, [1]).verdict, "must");
    assert.equal(judge(atMost, [1.1]).verdict, "missed");
  });

  it("is far off only a quarter above it", () => {
    assert.equal(isFarOff(judge(atMost, [1.2])), false);
    assert.equal(isFarOff(judge(atMost, [1.3])), true);
  });
});
