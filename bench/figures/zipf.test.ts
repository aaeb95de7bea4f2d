import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { drawDistinct, seededRandom, zipf } from "./zipf.ts";

describe("Zipf's law", () => {
  it("draws the n-th as often as 1 / n says", () => {
    const [count, draws] = [1_000, 200_000];
    const sum = Array.from({ length: count }, (_, rank) => 1 / (rank + 1)).reduce(
      (total, share) => total + share,
    );
    const counted = Array.from({ length: count }, () => 0);
    const again = zipf(count, seededRandom(2));
    for (let index = 0; index < draws; index += 1) {
      const rank = again();
      counted[rank] = (counted[rank] ?? 0) + 1;
    }
    for (const rank of [0, 1, 2, 9, 49]) {
      const expected = draws / (rank + 1) / sum;
      const actual = counted[rank] ?? 0;
      assert.ok(Math.abs(actual - expected) < expected * 0.1, `rank ${rank}: ${actual}, not ${expected}`);
    }
  });

  it("draws the first for the smallest number and the last for the largest", () => {
    assert.equal(zipf(1_000, () => 0)(), 0);
    assert.equal(zipf(1_000, () => 0.999_999_999)(), 999);
  });

  it("gives baskets of different items", () => {
    const draw = zipf(10, seededRandom(3));
    for (let index = 0; index < 100; index += 1) assert.equal(new Set(drawDistinct(draw, 5)).size, 5);
  });
});

describe("seeded numbers", () => {
  it("are the same in every run, from 0 up to 1, and spread evenly", () => {
    const [one, other] = [seededRandom(7), seededRandom(7)];
    const tenths = new Set<number>();
    for (let index = 0; index < 1_000; index += 1) {
      const number = one();
      assert.equal(number, other());
      assert.ok(number >= 0 && number < 1);
      tenths.add(Math.floor(number * 10));
    }
    assert.equal(tenths.size, 10);
  });
});
