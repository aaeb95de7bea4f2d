/** What events start: outcomes that Inventory missed are told again; a nudge says that a second has come. */
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { databaseNow, inTransaction, type Sql } from "#libs/db";
import {
  type Broker,
  consumeNudges,
  createConsumer,
  type EventMetrics,
  type MessageMeta,
  on,
  requireUuid,
} from "#libs/events";
import {
  type OrderOutcomesMissed,
  OrderOutcomesMissedSchema,
} from "#proto/holdfast/inventory/v1/events_pb.ts";
import { OrdersFellDueSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import type { Announcer } from "./announcer.ts";
import { NUDGES_QUEUE } from "./convert.ts";
import { outcomeFor } from "./domain/outcome.ts";
import type { Expiry } from "./expiry.ts";
import { readOrders } from "./store/orders.ts";

export type EventsParts = {
  readonly sql: Sql;
  readonly broker: Broker;
  readonly log: Logger;
  readonly metrics?: EventMetrics;
  /** Another queue than this service's own: for tests that share a broker. */
  readonly queue?: string;
};

/** Consumes this service's nudges: each expires what is due of its tenant when it comes. */
export function consumeOrderNudges(parts: EventsParts & { readonly expiry: Expiry }): Loop {
  const { sql, broker, expiry, log, metrics, queue } = parts;
  return consumeNudges({
    broker,
    queue: queue ?? NUDGES_QUEUE,
    schema: OrdersFellDueSchema,
    now: () => databaseNow(sql),
    handle: (tenant) => expiry.expireDue(tenant),
    log,
    metrics,
  });
}

/** The queue in which Inventory asks after outcomes. */
export const MISSED_OUTCOMES_QUEUE = "holdfast.order.missed-outcomes";

/** Messages at once: each is of hundreds of orders. */
const PREFETCH = 2;

/**
 * Consumes what Inventory asks after, and tells again what has ended: the same event, as every one may come
 * twice.
 */
export function consumeMissedOutcomes(parts: EventsParts & { readonly announcer: Announcer }): Loop {
  const { sql, broker, announcer, log, metrics, queue } = parts;

  async function tellAgain({ awaited, late }: OrderOutcomesMissed, { tenant }: MessageMeta): Promise<void> {
    const reservations = awaited.map(({ orderId, reservationId }) => ({
      orderId: requireUuid(orderId),
      reservationId: requireUuid(reservationId),
    }));
    const announcement = await inTransaction(sql, async (tx) => {
      const orderIds = [...new Set(reservations.map(({ orderId }) => orderId))];
      const { orders } = await readOrders(tx, tenant, orderIds);
      const now = (await databaseNow(tx)).getTime();
      const events = reservations.flatMap(
        (one) => outcomeFor(one, orders.get(one.orderId), { now, late }) ?? [],
      );
      return await announcer.write(
        tx,
        tenant,
        events.map((event) => ({ event })),
      );
    });
    announcer.send(announcement);
    const { length } = announcement.events;
    if (length > 0) log.warn({ tenant, orders: length }, "Inventory missed outcomes: they are told again");
  }

  return createConsumer({
    broker,
    queue: queue ?? MISSED_OUTCOMES_QUEUE,
    handlers: [on(OrderOutcomesMissedSchema, tellAgain)],
    prefetch: PREFETCH,
    log,
    metrics,
  });
}
