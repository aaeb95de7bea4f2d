/** Faults of the network between parts. */
import { setTimeout as pause } from "node:timers/promises";
import type { Fault } from "./trial.ts";
import type { Target } from "./wiring.ts";

/** Longer than Order waits for Inventory, so that calls under way end in nothing. */
const BLACK_HOLE_MS = 5_000;

/** Nothing goes through on the way to a target, and then every connection is reset. */
function blackHole(target: Target, name: string, times: Fault["times"]): Fault {
  return {
    name: `black hole between ${name}, then reset`,
    times,
    mayFail: true,
    inject: async ({ system: { wiring }, chance, show }) => {
      await pause(chance.between(0, 200));
      const before = wiring.counts(target);
      wiring.setWeather(target, { kind: "blackHole" });
      await pause(chance.between(500, BLACK_HOLE_MS));
      wiring.reset(target);
      wiring.setWeather(target, { kind: "pass" });
      const after = wiring.counts(target);
      show("data was kept back", after.keptBack > before.keptBack);
      show("connections were reset", after.resets > before.resets);
    },
  };
}

/** The target forgets all connections without a word. */
function halfOpen(target: Target, name: string): Fault {
  return {
    name: `half-open connections between ${name}`,
    times: { long: 10 },
    mayFail: true,
    inject: async ({ system: { wiring }, load, show }) => {
      const before = wiring.counts(target);
      wiring.halfOpen(target);
      show("connections were half-opened", wiring.counts(target).halfOpened > before.halfOpened);
      await load.more(10);
    },
  };
}

/** Everything takes its time. */
function latency(target: Target, name: string, ms: number): Fault {
  return {
    name: `${ms} ms of latency between ${name}`,
    times: { long: 5 },
    mayFail: true,
    inject: async ({ system: { wiring }, load, show }) => {
      const before = wiring.counts(target);
      wiring.setWeather(target, { kind: "latency", ms });
      await load.more(20);
      wiring.setWeather(target, { kind: "pass" });
      show("data was delayed", wiring.counts(target).delayed > before.delayed);
    },
  };
}

export const inventoryBlackHole = blackHole("inventory", "Order and Inventory", { short: 3, long: 50 });
export const postgresBlackHole = blackHole("postgres", "the services and Postgres", { long: 10 });
export const brokerBlackHole = blackHole("rabbitmq", "the services and RabbitMQ", { long: 10 });
export const postgresHalfOpen = halfOpen("postgres", "the services and Postgres");
export const inventoryHalfOpen = halfOpen("inventory", "Order and Inventory");
export const brokerHalfOpen = halfOpen("rabbitmq", "the services and RabbitMQ");
export const inventoryLatency = latency("inventory", "Order and Inventory", 300);
export const brokerLatency = latency("rabbitmq", "the services and RabbitMQ", 500);
