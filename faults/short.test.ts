/** The short form of the fault suite; `make test-faults` is the long one. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { faults, scenarios } from "./list.ts";
import { type System, startFaultSystem } from "./system.ts";
import { brokenPromises, runTrial } from "./trial.ts";

const { FAULT_SEED } = process.env;
const seed = FAULT_SEED ? Number(FAULT_SEED) : randomInt(1, 2 ** 31);

describe(`under faults (FAULT_SEED=${seed})`, () => {
  let system: System;
  before(async () => {
    system = await startFaultSystem();
  });
  after(async () => {
    await system.stop();
  });

  for (const fault of faults) {
    const times = fault.times.short;
    if (times === undefined) continue;
    test(`${fault.name}: nothing is lost and nothing oversold`, async () => {
      const outcome = await runTrial(system, fault, times, seed);
      assert.deepEqual(brokenPromises(outcome, fault), []);
    });
  }

  for (const { name, amounts, run } of scenarios) {
    const amount = amounts.short;
    if (amount === undefined) continue;
    test(`${name}: every promise is kept`, async () => {
      const { done } = await run(system, amount, seed);
      assert.equal(done, amount);
    });
  }
});
