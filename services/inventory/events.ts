/** What events start: the outcome of an order ends its reservation; a nudge says that a second is over. */
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { databaseNow, type Sql } from "#libs/db";
import {
  type Broker,
  consumeNudges,
  createConsumer,
  type EventMetrics,
  ImpossibleMessage,
  type MessageMeta,
  on,
  requireUuid,
} from "#libs/events";
import { DomainError, type Reason } from "#libs/reasons";
import { ReservationsFellDueSchema } from "#proto/holdfast/inventory/v1/events_pb.ts";
import {
  OrderAbandonedSchema,
  OrderCancelledSchema,
  OrderExpiredSchema,
  OrderSettledSchema,
} from "#proto/holdfast/order/v1/events_pb.ts";
import type { Changes } from "./changes.ts";
import { NUDGE_QUEUE } from "./convert/events.ts";
import { idOf } from "./convert/requests.ts";
import type { Expiry } from "./expiry.ts";
import type { Outcomes } from "./outcomes.ts";

export type EventsParts = {
  readonly sql: Sql;
  readonly broker: Broker;
  readonly log: Logger;
  readonly metrics?: EventMetrics;
};

/** The queue of the outcomes of orders. */
export const ORDERS_QUEUE = "holdfast.inventory.orders";

/** What stands in the reservation itself: no repetition of the event can change it. */
const final: ReadonlySet<Reason> = new Set([
  "RESERVATION_NOT_FOUND",
  "RESERVATION_EXISTS",
  "RESERVATION_COMMITTED",
  "RESERVATION_RELEASED",
  "RESERVATION_EXPIRED",
]);

/** An order whose outcome ends a reservation. */
type Ended = { readonly orderId: string; readonly reservationId?: string };

/**
 * Consumes the outcomes of orders. What comes together is carried out together. Where its queue was not
 * there, the outcomes that were in it are gone: they are asked for.
 */
export function consumeOrders(
  parts: EventsParts & { readonly changes: Changes; readonly outcomes: Outcomes },
): Loop {
  const { broker, log, metrics, changes, outcomes } = parts;

  async function end(kind: "commit" | "release", ended: Ended, meta: MessageMeta): Promise<void> {
    const orderId = requireUuid(idOf(ended.orderId));
    // The first reservation of an order has its id.
    const reservationId = ended.reservationId ? requireUuid(idOf(ended.reservationId)) : orderId;
    try {
      await changes.reservation(meta.tenant, { kind, reservationId, party: "order", orderId });
    } catch (error) {
      if (!(error instanceof DomainError) || !final.has(error.reason)) throw error;
      log.error(
        { orderId, reservationId, tenant: meta.tenant, event: meta.type, reason: error.reason },
        "an outcome was refused",
      );
      throw new ImpossibleMessage(error.reason, `cannot ${kind}: ${error.message}`, { cause: error });
    }
  }

  return createConsumer({
    broker,
    log,
    metrics,
    queue: ORDERS_QUEUE,
    onQueueMade: () => {
      log.info({ queue: ORDERS_QUEUE }, "the queue is new: what may have been in one before is asked for");
      outcomes.askAll().catch((error: unknown) => {
        log.error({ err: error }, "outcomes could not be asked for; they are when they are late");
      });
    },
    handlers: [
      on(OrderSettledSchema, (settled, meta) => end("commit", settled, meta)),
      on(OrderCancelledSchema, ({ orderId }, meta) => end("release", { orderId }, meta)),
      on(OrderExpiredSchema, ({ orderId }, meta) => end("release", { orderId }, meta)),
      on(OrderAbandonedSchema, (abandoned, meta) => end("release", abandoned, meta)),
    ],
  });
}

/** Consumes the service's own nudges: each expires what is due of its tenant when it comes. */
export function consumeReservationNudges(parts: EventsParts & { readonly expiry: Expiry }): Loop {
  const { sql, broker, log, metrics, expiry } = parts;
  return consumeNudges({
    broker,
    log,
    metrics,
    queue: NUDGE_QUEUE,
    schema: ReservationsFellDueSchema,
    now: () => databaseNow(sql),
    handle: (tenant) => expiry.expireDue(tenant),
  });
}
