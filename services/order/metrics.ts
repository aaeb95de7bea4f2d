import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { GuardState } from "#libs/rpc";
import type { Actor, OrderEvent, State } from "./domain/order.ts";

/** What triggers an expiry. */
export type ExpiryTrigger = Extract<Actor, "nudge" | "sweeper" | "touch">;

/** What the service counts of orders. */
export type OrderMetrics = {
  /** Orders that came into a state. */
  countOrders(state: State, count: number): void;
  /** Orders that were expired, and how late. */
  countExpiries(trigger: ExpiryTrigger, lagsMs: readonly number[]): void;
  /** Late payments that are dealt with, by the events that say so. */
  countLatePayments(events: readonly OrderEvent[]): void;
  /** A batch of the given kind that was carried out. */
  observeBatch(name: string): (size: number, tookMs: number) => void;
  /** A call to Inventory. */
  observeInventoryCall(outcome: string, tookMs: number): void;
  /** Whether calls to Inventory go, fail at once, or are tried one by one. */
  setInventoryCircuit(state: GuardState): void;
};

const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const CALL_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const LAG_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3_600];

/** Registers the metrics of orders; once a registry. */
export function createOrderMetrics(registry: Registry): OrderMetrics {
  const registers = [registry];
  const orders = new Counter({
    name: "orders_total",
    help: "Orders that came into a state, by state.",
    labelNames: ["state"],
    registers,
  });
  const expiries = new Counter({
    name: "expiries_total",
    help: "Orders that were expired, by what triggered it: nudge, sweeper or touch.",
    labelNames: ["trigger"],
    registers,
  });
  const lag = new Histogram({
    name: "expiry_lag_seconds",
    help: "How long after its expire_time an order was expired.",
    buckets: LAG_SECONDS,
    registers,
  });
  const latePayments = new Counter({
    name: "late_payments_total",
    help: "Payments that came after their order had expired, by outcome: settled or refund_required.",
    labelNames: ["outcome"],
    registers,
  });
  const batchSize = new Histogram({
    name: "batch_calls",
    help: "Calls of one batch, by kind of batch.",
    labelNames: ["batch"],
    buckets: BATCH_SIZES,
    registers,
  });
  const batchSeconds = new Histogram({
    name: "batch_seconds",
    help: "How long a batch took, by kind of batch.",
    labelNames: ["batch"],
    buckets: CALL_SECONDS,
    registers,
  });
  return {
    ...registerInventory(registers),
    countOrders: (state, count) => {
      if (count > 0) orders.inc({ state }, count);
    },
    countExpiries: (trigger, lagsMs) => {
      if (lagsMs.length > 0) expiries.inc({ trigger }, lagsMs.length);
      for (const lagMs of lagsMs) lag.observe(lagMs / 1_000);
    },
    countLatePayments: (events) => {
      for (const event of events) {
        if (event.type === "OrderSettled" && event.late) latePayments.inc({ outcome: "settled" });
        if (event.type === "OrderRefundRequired") latePayments.inc({ outcome: "refund_required" });
      }
    },
    observeBatch: (batch) => (size, tookMs) => {
      batchSize.observe({ batch }, size);
      batchSeconds.observe({ batch }, tookMs / 1_000);
    },
  };
}

function registerInventory(
  registers: Registry[],
): Pick<OrderMetrics, "observeInventoryCall" | "setInventoryCircuit"> {
  const inventoryCalls = new Histogram({
    name: "inventory_call_seconds",
    help: "How long a call to Inventory took, by outcome (OK or the error's code).",
    labelNames: ["outcome"],
    buckets: CALL_SECONDS,
    registers,
  });
  const circuit = new Gauge({
    name: "inventory_circuit",
    help: "1 for the state of the circuit to Inventory: closed (calls go), halfOpen, open (calls fail).",
    labelNames: ["state"],
    registers,
  });
  const setInventoryCircuit = (now: GuardState) => {
    for (const state of ["closed", "halfOpen", "open"]) circuit.set({ state }, state === now ? 1 : 0);
  };
  setInventoryCircuit("closed");
  return {
    setInventoryCircuit,
    observeInventoryCall: (outcome, tookMs) => {
      inventoryCalls.observe({ outcome }, tookMs / 1_000);
    },
  };
}
