import assert from "node:assert/strict";
import { test } from "node:test";
import { createTurns } from "./turns.ts";

test("work in turns never goes on side by side, and one that fails does not stop the next", async () => {
  const inTurn = createTurns();
  let atOnce = 0;
  const work = async (number: number) => {
    atOnce += 1;
    assert.equal(atOnce, 1);
    await new Promise(setImmediate);
    atOnce -= 1;
    if (number === 2) throw new Error("the second fails");
    return number;
  };
  const outcomes = await Promise.allSettled([1, 2, 3].map((number) => inTurn(() => work(number))));
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : "failed")),
    [1, "failed", 3],
  );
});
