/** Asks Inventory for the stock of many orders at once. */
import { type Batcher, createBatcher } from "#libs/batch";
import { limits } from "../domain/limits.ts";
import type { Reserved } from "../domain/reservation.ts";
import type { OrderToReserve, ReserveOrders } from "../inventory.ts";
import type { OrderMetrics } from "../metrics.ts";

/**
 * Calls to Inventory at once: one that hangs leaves the others a way. It is the bulkhead too: while Inventory
 * hangs, these and what waits for them are all that waits, and every other kind of call has its own batches.
 */
const RESERVE_LANES = 4;

/** Makes the gathering of a process's calls to Inventory. */
export function createReserving(
  reserveOrders: ReserveOrders,
  metrics: OrderMetrics,
): Batcher<OrderToReserve, Reserved> {
  return createBatcher<OrderToReserve, Reserved>({
    name: "order-reserving",
    maxBatch: limits.batchCalls,
    maxWaiting: limits.waitingCalls,
    lanes: RESERVE_LANES,
    splitsOn: () => false,
    observe: metrics.observeBatch("reserving"),
    execute: async (orders, tenant) =>
      (await reserveOrders(tenant, orders)).map((value) => ({ ok: true, value })),
  });
}
