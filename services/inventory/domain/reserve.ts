/** Takes a promise of units: all lines or none. */
import { DomainError, invalidField, type Shortage } from "#libs/reasons";
import { type Book, move, put } from "./book.ts";
import type { Expiry, ReserveCall, StockResult } from "./calls.ts";
import { releaseLive } from "./end.ts";
import { CLOCK_SLACK_MS, MAX_TTL_MS, MIN_TTL_MS } from "./limits.ts";
import {
  type Line,
  madeAt,
  ownerOfOrder,
  type Reservation,
  readAt,
  reservationExists,
  sumLines,
} from "./reservation.ts";
import {
  type Absence,
  availableOf,
  itemArchived,
  itemNotFound,
  type Level,
  locationNotFound,
  placeKey,
} from "./stock.ts";

/** What is there of a place: its level, or why it has none. */
export type Places = ReadonlyMap<string, Level | Absence>;

/**
 * Reserves for one call, or throws why not. A reservation that is there already may be the answer. What the
 * new one replaces is released in any case: its order has expired, whatever becomes of this call.
 */
export function reserve(book: Book, call: ReserveCall): StockResult {
  if (call.replaces !== undefined) releaseLive(book, call.replaces, call.owner);
  const existing = book.reservations.get(call.reservationId)?.after;
  if (existing) {
    if (!call.idempotentById || existing.owner !== call.owner) throw reservationExists(call.reservationId);
    return { kind: "reservation", reservation: readAt(existing, book.now), changed: false };
  }
  refuseFuture(call, book.now);
  const expireTime = expireTimeOf(call.expiry, book.now);
  const lines = sumLines(call.lines);
  refuseUnknown(book.levels, call.lines);
  refuseShort(book.levels, lines);
  const reservation: Reservation = {
    reservationId: call.reservationId,
    state: "ACTIVE",
    owner: call.owner,
    lines,
    createTime: book.now,
    ...(expireTime === undefined ? {} : { expireTime }),
  };
  if (call.validateOnly) return { kind: "reservation", reservation, changed: false };
  for (const { quantity, ...place } of lines) {
    move(book, place, {
      type: "RESERVE",
      onHandDelta: 0,
      reservedDelta: quantity,
      cause: call.reservationId,
    });
  }
  put(book, reservation);
  return { kind: "reservation", reservation, changed: true };
}

/**
 * Units that a new reservation may take of a place: none of an archived item's, none where nothing ever
 * was.
 */
export function reservable(place: Level | Absence | undefined): number {
  return place === undefined || "absent" in place || place.archived ? 0 : availableOf(place);
}

/**
 * Throws for the first line whose item or location is not there, naming the field; `lines` as the caller
 * listed them.
 */
export function refuseStrangers(places: Places, lines: readonly Line[]): void {
  for (const [index, { sku, locationId }] of lines.entries()) {
    const place = places.get(placeKey({ sku, locationId }));
    if (place === undefined) throw new Error(`${sku} at ${locationId} was not read`);
    if (!("absent" in place)) continue;
    if (place.absent === "ITEM") throw itemNotFound(sku, `lines[${index}].sku`);
    if (place.absent === "LOCATION") throw locationNotFound(locationId, `lines[${index}].location_id`);
  }
}

// Where a reservation that has ended is looked for depends on when its id says that it was made.
function refuseFuture({ reservationId, owner }: ReserveCall, now: number): void {
  if ((madeAt(reservationId) ?? now) <= now + CLOCK_SLACK_MS) return;
  const field = owner === ownerOfOrder(reservationId) ? "order_id" : "reservation_id";
  throw invalidField(field, "says that it was made more than a day from now: its maker's clock is wrong");
}

function refuseUnknown(places: Places, lines: readonly Line[]): void {
  refuseStrangers(places, lines);
  for (const [index, line] of lines.entries()) {
    if (places.get(placeKey(line))?.archived) throw itemArchived(line.sku, `lines[${index}].sku`);
  }
}

function refuseShort(places: Places, lines: readonly Line[]): void {
  const shortages: Shortage[] = [];
  for (const { sku, locationId, quantity } of lines) {
    const available = reservable(places.get(placeKey({ sku, locationId })));
    if (quantity > available) shortages.push({ sku, locationId, requested: quantity, available });
  }
  const [first] = shortages;
  if (!first) return;
  const message = shortages
    .map(
      (short) =>
        `${short.sku} at ${short.locationId}: ${short.requested} asked for, ${short.available} available`,
    )
    .join("; ");
  throw new DomainError("INSUFFICIENT_STOCK", message, {
    metadata: {
      sku: first.sku,
      location_id: first.locationId,
      requested: String(first.requested),
      available: String(first.available),
    },
    shortages,
  });
}

function expireTimeOf(expiry: Expiry, now: number): number | undefined {
  switch (expiry.kind) {
    case "none":
      return undefined;
    case "ttl":
      return now + expiry.ttlMs;
    case "moment": {
      const ttlMs = expiry.expireTime - now;
      if (ttlMs >= MIN_TTL_MS && ttlMs <= MAX_TTL_MS) return expiry.expireTime;
      throw invalidField("expire_time", "must be 1 s to 30 days from now");
    }
  }
}
