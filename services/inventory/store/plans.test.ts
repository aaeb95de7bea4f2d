import assert from "node:assert/strict";
import { test } from "node:test";
import { judgePlans } from "../testing/plans.ts";

/**
 * Enough that a plan shows its kind, few enough for every run of the tests; bench/plans.ts lays a
 * million.
 */
const ROWS = 100_000;

test("every statement goes by an index, with the condition that makes it cheap", async () => {
  const judged = await judgePlans(ROWS);
  assert.ok(judged.size > 35, `only ${judged.size} statements were seen`);
  const faults = [...judged].filter(([, found]) => found.length > 0);
  assert.deepEqual(Object.fromEntries(faults), {});
});
