/** Asks Inventory for the stock of many orders at once. */
import { type Batcher, createBatcher, type Outcome } from "#libs/batch";
import { limits } from "../domain/limits.ts";
import type { Reserved } from "../domain/reservation.ts";
import type { OrderToReserve, ReserveOrders } from "../inventory.ts";
import type { OrderMetrics } from "../metrics.ts";

/**
 * Batches for Inventory at once: one that hangs leaves the others a way. It is the bulkhead too: while
 * Inventory hangs, these and what waits for them are all that waits, and every other kind of call has its own
 * batches.
 */
const RESERVE_LANES = 4;

/** Makes the gathering of a process's calls to Inventory. */
export function createReserving(
  reserveOrders: ReserveOrders,
  metrics: OrderMetrics,
): Batcher<OrderToReserve, Reserved> {
  async function reservePart(
    tenant: string,
    orders: readonly OrderToReserve[],
  ): Promise<Outcome<Reserved>[]> {
    try {
      return (await reserveOrders(tenant, orders)).map((value) => ({ ok: true, value }));
    } catch (error) {
      return orders.map(() => ({ ok: false, error }));
    }
  }

  return createBatcher<OrderToReserve, Reserved>({
    name: "order-reserving",
    maxBatch: limits.batchCalls,
    maxWaiting: limits.waitingCalls,
    lanes: RESERVE_LANES,
    splitsOn: () => false,
    observe: metrics.observeBatch("reserving"),
    execute: async (orders, tenant) => {
      const parts = await Promise.all(partsOf(orders).map((part) => reservePart(tenant, part)));
      return parts.flat();
    },
  });
}

// Mostly there is one part: 256 orders of 24 lines.
function partsOf(orders: readonly OrderToReserve[]): OrderToReserve[][] {
  const parts: OrderToReserve[][] = [];
  let room = 0;
  for (const order of orders) {
    room -= order.lines.length;
    const last = room < 0 ? undefined : parts.at(-1);
    if (last) last.push(order);
    else {
      parts.push([order]);
      room = limits.linesACall - order.lines.length;
    }
  }
  return parts;
}
