/** What the suite does, in the order in which it does it. */
import { measureAmplification } from "./amplification.ts";
import { createTally } from "./calls.ts";
import { fullDisk } from "./disk-faults.ts";
import { runAgainstModel } from "./model.ts";
import {
  brokerBlackHole,
  brokerHalfOpen,
  brokerLatency,
  inventoryBlackHole,
  inventoryHalfOpen,
  inventoryLatency,
  postgresBlackHole,
  postgresHalfOpen,
} from "./network-faults.ts";
import {
  absentBroker,
  killedBroker,
  killedGateway,
  killedInstance,
  rollingRestart,
  skewedClocks,
  stoppedPostgres,
  wipedBroker,
} from "./process-faults.ts";
import { chanceFrom } from "./random.ts";
import {
  deliverThrice,
  type Result,
  raceForTheLastUnit,
  repeatRequests,
  settleAtExpiry,
} from "./scenarios.ts";
import type { System, SystemOptions } from "./system.ts";
import type { Fault } from "./trial.ts";

/** All faults under load. */
export const faults: readonly Fault[] = [
  killedInstance,
  stoppedPostgres,
  killedBroker,
  inventoryBlackHole,
  rollingRestart,
  killedGateway,
  postgresBlackHole,
  brokerBlackHole,
  postgresHalfOpen,
  inventoryHalfOpen,
  brokerHalfOpen,
  inventoryLatency,
  brokerLatency,
  wipedBroker,
  fullDisk,
  skewedClocks,
  absentBroker,
];

export type Scenario = {
  readonly name: string;
  /** How much of it is done in the short form, if it is in it, and in the long one. */
  readonly amounts: { readonly short?: number; readonly long: number };
  /** What the system is started with. */
  readonly system?: SystemOptions;
  readonly run: (system: System, amount: number, seed: number) => Promise<Result>;
};

const BUYERS = { short: 200, long: 1_000 };
const REPETITIONS = 10;
/** So many rounds are the short form's. */
const SHORT_ROUNDS = 3;

export const scenarios: readonly Scenario[] = [
  {
    name: "last-unit race",
    amounts: { short: SHORT_ROUNDS, long: 100 },
    run: (system, rounds) =>
      raceForTheLastUnit(system, rounds, rounds === SHORT_ROUNDS ? BUYERS.short : BUYERS.long),
  },
  {
    name: "every event delivered three times and shuffled",
    amounts: { short: 200, long: 10_000 },
    run: (system, orders, seed) => deliverThrice(system, orders, chanceFrom(seed)),
  },
  {
    name: "request ids sent again and again across kills",
    amounts: { short: 200, long: 10_000 },
    run: (system, requests, seed) => repeatRequests(system, requests, REPETITIONS, chanceFrom(seed)),
  },
  {
    name: "a payment against expiry, at the very moment",
    amounts: { short: 100, long: 2_000 },
    run: settleAtExpiry,
  },
  {
    name: "calls at an Inventory that is away or ill",
    // Seconds of each illness.
    amounts: { long: 10 },
    system: { hasGates: true },
    run: measureAmplification,
  },
  {
    name: "random operations against a model",
    amounts: { short: 300, long: 20_000 },
    run: async (system, operations, seed) => {
      const crashes = await runAgainstModel(system, operations, seed);
      const scenario = `random operations against a model, ${crashes} crashes among them`;
      return { scenario, done: operations, tally: createTally() };
    },
  },
];
