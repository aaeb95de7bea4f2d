/** What the service says to others, as messages of the contract. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { nudgeToOutbox, type OutboxMessage, toOutbox } from "#libs/events";
import {
  OrderOutcomesMissedSchema,
  ReservationExpiredSchema,
  ReservationsFellDueSchema,
  StockRanLowSchema,
  StockReplenishedSchema,
} from "#proto/holdfast/inventory/v1/events_pb.ts";
import type { StockEvent } from "../domain/calls.ts";
import type { OwnedByOrder } from "../store/reservations.ts";

/** The queue of the nudges that reservations fell due. */
export const NUDGE_QUEUE = "holdfast.inventory.nudges";

/** The message of an event. Nobody has to listen to it. */
export function eventMessage(tenant: string, event: StockEvent): OutboxMessage {
  const options = { tenant, mandatory: false };
  switch (event.type) {
    case "ReservationExpired": {
      const { reservationId, owner, lines, expireTime, endTime } = event.reservation;
      const message = create(ReservationExpiredSchema, {
        reservationId,
        owner,
        lines: lines.map((line) => ({ ...line })),
        expireTime: timestampFromMs(expireTime ?? 0),
        endTime: timestampFromMs(endTime ?? 0),
      });
      return toOutbox(ReservationExpiredSchema, message, options);
    }
    case "StockRanLow":
      return toOutbox(StockRanLowSchema, create(StockRanLowSchema, levelOf(event)), options);
    case "StockReplenished":
      return toOutbox(StockReplenishedSchema, create(StockReplenishedSchema, levelOf(event)), options);
  }
}

/**
 * The message that asks Order after these reservations. Nobody has to take one about late ones: there is
 * another the next day.
 */
export function outcomesMissedMessage(
  tenant: string,
  owned: readonly OwnedByOrder[],
  late: boolean,
): OutboxMessage {
  const awaited = owned.map(({ orderId, reservationId }) => ({ orderId, reservationId }));
  const message = create(OrderOutcomesMissedSchema, { awaited, late });
  return toOutbox(OrderOutcomesMissedSchema, message, { tenant, mandatory: !late });
}

/** The message that comes back when this second is over. */
export function nudgeMessage(tenant: string, dueSecond: number): OutboxMessage {
  return nudgeToOutbox({
    schema: ReservationsFellDueSchema,
    message: create(ReservationsFellDueSchema, { dueTime: timestampFromMs(dueSecond) }),
    tenant,
    dueTime: new Date(dueSecond),
    destination: NUDGE_QUEUE,
  });
}

function levelOf(event: Exclude<StockEvent, { type: "ReservationExpired" }>) {
  const { sku, locationId, available, reorderPoint, version } = event;
  return { sku, locationId, available, reorderPoint, version: BigInt(version) };
}
