import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { DomainError } from "#libs/reasons";
import type { StockEvent, StockOutcome } from "./domain/calls.ts";

/** What the service counts of stock. */
export type StockMetrics = {
  /** What became of the calls of a batch. */
  countOutcomes(outcomes: readonly StockOutcome[]): void;
  /** What happened in it. */
  countEvents(events: readonly StockEvent[]): void;
  observeBatch(size: number, tookMs: number): void;
  /** Reads the number of waiting calls whenever the metrics are read. */
  watchWaiting(waiting: () => number): void;
};

const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const BATCH_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const LAG_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3_600];
const MS = 1_000;

/** Registers the metrics of stock; once a registry. */
export function createStockMetrics(registry: Registry): StockMetrics {
  const registers = [registry];
  const reservations = new Counter({
    name: "reservations_total",
    help: "Reservations that came into a state, by state.",
    labelNames: ["state"],
    registers,
  });
  const refusals = new Counter({
    name: "stock_refusals_total",
    help: "Changes of stock that were refused, by reason.",
    labelNames: ["reason"],
    registers,
  });
  const expiries = new Counter({
    name: "expiries_total",
    help: "Reservations that were expired, by what triggered it: nudge, sweeper or touch.",
    labelNames: ["trigger"],
    registers,
  });
  const lag = new Histogram({
    name: "expiry_lag_seconds",
    help: "How long after its expire_time a reservation was expired.",
    buckets: LAG_SECONDS,
    registers,
  });
  const batchSize = new Histogram({
    name: "batch_calls",
    help: "Calls of one batch.",
    buckets: BATCH_SIZES,
    registers,
  });
  const batchSeconds = new Histogram({
    name: "batch_seconds",
    help: "How long a batch took.",
    buckets: BATCH_SECONDS,
    registers,
  });
  return {
    countOutcomes: (outcomes) => {
      for (const [state, count] of statesOf(outcomes)) reservations.inc({ state }, count);
      for (const [reason, count] of reasonsOf(outcomes)) refusals.inc({ reason }, count);
    },
    countEvents: (events) => {
      for (const event of events) {
        if (event.type !== "ReservationExpired") continue;
        const { expireTime = 0, endTime = 0 } = event.reservation;
        expiries.inc({ trigger: event.trigger });
        lag.observe((endTime - expireTime) / MS);
      }
    },
    observeBatch: (size, tookMs) => {
      batchSize.observe(size);
      batchSeconds.observe(tookMs / MS);
    },
    watchWaiting: (waiting) => {
      const gauge: Gauge = new Gauge({
        name: "batch_waiting_calls",
        help: "Calls that wait for their batch.",
        registers: [],
        collect: () => {
          gauge.set(waiting());
        },
      });
      registry.registerMetric(gauge);
    },
  };
}

// Counted by value first: a counter costs more than the call it counts.
function statesOf(outcomes: readonly StockOutcome[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) {
    if (!outcome.ok || outcome.value.kind !== "reservation" || !outcome.value.changed) continue;
    const { state } = outcome.value.reservation;
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return counts;
}

function reasonsOf(outcomes: readonly StockOutcome[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) {
    if (outcome.ok || !(outcome.error instanceof DomainError)) continue;
    const { reason } = outcome.error;
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts;
}
