/** What both ends of a placement have in common. */
import type { Outcome } from "#libs/batch";
import type { Sql, Tx } from "#libs/db";
import type { Announcement } from "../announcer.ts";
import { type Change, type Order, rejectionError } from "../domain/order.ts";
import { readOrders, type Snapshot } from "../store/orders.ts";

/** What the caller gets: the order as it is now. */
export type Finished = { readonly order: Order; readonly now: number };

/** The outcomes of a batch, the changes behind them, and what is to be sent once they are committed. */
export type FinishedBatch = {
  readonly outcomes: readonly Outcome<Finished>[];
  readonly changes: readonly Change[];
  readonly announcement: Announcement;
};

/** The answer to a create whose order has left RESERVING: the order, or the error that its rejection is. */
export function answerOf(order: Order, now: number): Outcome<Finished> {
  if (order.rejection) return { ok: false, error: rejectionError(order.orderId, order.rejection) };
  return { ok: true, value: { order, now: Math.max(now, order.updateTime) } };
}

/** Reads orders that had left RESERVING already; mostly there are none. */
export async function readOthers(
  sql: Sql | Tx,
  tenant: string,
  others: readonly { readonly order: Order }[],
): Promise<Snapshot> {
  if (others.length === 0) return { now: 0, orders: new Map() };
  return await readOrders(
    sql,
    tenant,
    others.map(({ order }) => order.orderId),
  );
}

/** The answer to a call whose order had left RESERVING already. */
export function answerOfOther({ now, orders }: Snapshot, orderId: string): Outcome<Finished> {
  const order = orders.get(orderId);
  // Only a call that works at an order alone takes it back, so no other can miss it.
  if (!order) throw new Error(`order ${orderId} is gone while a call works at it`);
  return answerOf(order, now);
}
