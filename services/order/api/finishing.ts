/** The second transaction of a placement: what became of the RESERVING order. */
import type { Outcome } from "#libs/batch";
import type { Tx } from "#libs/db";
import type { Announcement, Announcer } from "../announcer.ts";
import {
  abandon,
  abandonment,
  type Change,
  confirm,
  type Order,
  reject,
  rejectionError,
} from "../domain/order.ts";
import type { Verdict } from "../domain/reservation.ts";
import { readOrders } from "../store/orders.ts";
import { confirmOrders, type Left, rejectOrders, takeBack } from "../store/placement.ts";
import { deleteRequests } from "../store/requests.ts";

/** A RESERVING order, and what is to become of it. */
export type FinishingCall = {
  readonly order: Order;
  readonly ttlMs: number;
  readonly verdict: Verdict;
  readonly requestId: string | undefined;
  readonly correlationId: string;
};

/** What the caller gets: the order as it is now. */
export type Finished = { readonly order: Order; readonly now: number };

/** The outcomes of a batch, the changes behind them, and what is to be sent once they are committed. */
export type FinishedBatch = {
  readonly outcomes: readonly Outcome<Finished>[];
  readonly changes: readonly Change[];
  readonly announcement: Announcement;
};

/**
 * Finishes the placements of a batch, each by itself. The rows judge: an order that has left RESERVING stays
 * as it is.
 */
export async function finishPlacements(
  tx: Tx,
  tenant: string,
  calls: readonly FinishingCall[],
  announcer: Announcer,
): Promise<FinishedBatch> {
  const left = await writeVerdicts(tx, tenant, calls);
  const changes = new Map<FinishingCall, Change>();
  for (const call of calls) {
    const change = changeOf(call, left.get(call));
    if (change) changes.set(call, change);
  }
  const others = calls.filter((call) => !left.has(call));
  const [announcement, { now, orders }] = await Promise.all([
    announcer.write(
      tx,
      tenant,
      [...changes].flatMap(([{ correlationId }, { events }]) =>
        events.map((event) => ({ event, correlationId })),
      ),
    ),
    others.length === 0
      ? { now: 0, orders: new Map<string, Order>() }
      : readOrders(
          tx,
          tenant,
          others.map(({ order }) => order.orderId),
        ),
  ]);
  const outcomes = calls.map((call): Outcome<Finished> => {
    if (call.verdict.kind === "takeBack" && left.has(call)) return { ok: false, error: call.verdict.error };
    const order = changes.get(call)?.order ?? orders.get(call.order.orderId);
    // Only a call that works at an order alone takes it back, so no other can miss it.
    if (!order) throw new Error(`order ${call.order.orderId} is gone while a call works at it`);
    return answerOf(order, Math.max(now, order.updateTime));
  });
  return { outcomes, changes: [...changes.values()], announcement };
}

/** The answer to a create whose order has left RESERVING: the order, or the error that its rejection is. */
export function answerOf(order: Order, now: number): Outcome<Finished> {
  if (order.rejection) return { ok: false, error: rejectionError(order.orderId, order.rejection) };
  return { ok: true, value: { order, now } };
}

type Gone = "taken back";

/** Writes the verdicts on the orders that are still RESERVING; returns how each of those left it. */
async function writeVerdicts(
  tx: Tx,
  tenant: string,
  calls: readonly FinishingCall[],
): Promise<Map<FinishingCall, Left | Gone>> {
  const wrong = calls.filter(({ verdict }) => verdict.kind === "takeBack");
  const [confirmed, rejected, gone] = await Promise.all([
    confirmOrders(
      tx,
      tenant,
      calls.flatMap(({ order: { orderId }, ttlMs, verdict }) =>
        verdict.kind === "confirm" ? [{ orderId, ttlMs }] : [],
      ),
    ),
    rejectOrders(tx, tenant, calls.flatMap(refusalOf)),
    takeBack(
      tx,
      tenant,
      wrong.map(({ order }) => order.orderId),
    ),
  ]);
  // Another call works at the order too and may have its stock: it is given up, which gives any stock back.
  const contested = wrong.filter(({ order }) => !gone.has(order.orderId));
  const [givenUp] = await Promise.all([
    rejectOrders(
      tx,
      tenant,
      contested.map(({ order: { orderId } }) => ({ orderId, rejection: abandonment })),
    ),
    deleteRequests(
      tx,
      tenant,
      wrong.flatMap(({ order, requestId }) => (requestId && gone.has(order.orderId) ? [requestId] : [])),
    ),
  ]);
  const left = new Map<FinishingCall, Left | Gone>();
  for (const call of calls) {
    const { orderId } = call.order;
    const how = confirmed.get(orderId) ?? rejected.get(orderId) ?? givenUp.get(orderId);
    if (how) left.set(call, how);
    else if (gone.has(orderId)) left.set(call, "taken back");
  }
  return left;
}

function refusalOf({ order: { orderId }, verdict }: FinishingCall) {
  if (verdict.kind === "reject") return [{ orderId, rejection: verdict.rejection }];
  if (verdict.kind === "abandon") return [{ orderId, rejection: abandonment }];
  return [];
}

function changeOf({ order, verdict }: FinishingCall, left: Left | Gone | undefined): Change | undefined {
  if (left === undefined || left === "taken back") return undefined;
  if (left.expireTime !== undefined) return confirm(order, left.time, left.expireTime);
  if (verdict.kind === "reject") {
    // A call that works at the order beside this one may have its stock.
    return reject(order, left.time, verdict.rejection, verdict.releases || left.attempts > 1);
  }
  return abandon(order, left.time, "api");
}
