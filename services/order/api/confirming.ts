/** The end of a placement whose stock is reserved: RESERVING to PENDING, in one statement. */
import { type ClockReading, retryConflicts, type Sql, timeSince } from "#libs/db";
import type { Announcer } from "../announcer.ts";
import { confirm, type Order } from "../domain/order.ts";
import { confirmOrders } from "../store/placement.ts";
import { answerOf, answerOfOther, type FinishedBatch, readOthers } from "./finished.ts";

/** A RESERVING order that has its stock. */
export type ConfirmingCall = {
  readonly order: Order;
  /** The database's clock, when the order was opened. */
  readonly clock: ClockReading;
  readonly ttlMs: number;
  readonly correlationId: string;
};

/**
 * Confirms the orders of a batch, each by itself. The rows judge: an order that has left RESERVING stays as
 * it is. When it changes an order says itself, by the database's clock, as its event has to be written by the
 * same statement.
 */
export async function confirmPlacements(
  sql: Sql,
  tenant: string,
  calls: readonly ConfirmingCall[],
  announcer: Announcer,
): Promise<FinishedBatch> {
  const changes = calls.map(({ order, clock, ttlMs }) => {
    const now = timeSince(clock);
    return confirm(order, now, now + ttlMs);
  });
  const { events, nudges } = announcer.compose(
    tenant,
    changes.flatMap((change, index) =>
      change.events.map((event) => ({ event, correlationId: calls[index]?.correlationId })),
    ),
  );
  const orders = changes.map(({ order }) => order);
  const written = await retryConflicts(() => confirmOrders(sql, tenant, orders, { events, nudges }));
  const isWritten = (index: number) => written.has(events[index]?.outboxId ?? "");
  const others = await readOthers(
    sql,
    tenant,
    calls.filter((_, index) => !isWritten(index)),
  );
  return {
    outcomes: orders.map((order, index) =>
      isWritten(index) ? answerOf(order, order.updateTime) : answerOfOther(others, order.orderId),
    ),
    changes: changes.filter((_, index) => isWritten(index)),
    announcement: {
      tenant,
      events: events.filter(({ outboxId }) => written.has(outboxId)),
      // Without an order no second was noted.
      nudges: written.size > 0 ? nudges : [],
    },
  };
}
