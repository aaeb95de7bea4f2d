/** Ends reservations, or gives them more time. */
import { type Book, move, put } from "./book.ts";
import type { EndCall, ExpireCall, ExpiryTrigger, ExtendCall, StockResult } from "./calls.ts";
import {
  endedError,
  isDue,
  ownerOfOrder,
  type Reservation,
  reservationExists,
  reservationNotFound,
  transit,
} from "./reservation.ts";

/** Commits or releases for one call, or throws why not. */
export function end(book: Book, call: EndCall): StockResult {
  const found = book.reservations.get(call.reservationId)?.after;
  if (!found) {
    if (call.kind !== "release" || call.party !== "order") throw reservationNotFound(call.reservationId);
    return buryUnseen(book, call);
  }
  if (call.party === "order" && found.owner !== ownerOf(call)) throw reservationExists(call.reservationId);
  if (call.party === "caller") refuseDue(book, found);
  const reservation = transit(found, call.kind, call.party, book.now);
  if (reservation === found) return { kind: "reservation", reservation, changed: false };
  finish(book, reservation);
  return { kind: "reservation", reservation, changed: true };
}

/**
 * Releases what an order still has under this id. What has ended, is another's or never was stays as it is:
 * the event that tells of the order's outcome comes too, and deals with that.
 */
export function releaseLive(book: Book, reservationId: string, owner: string): void {
  const found = book.reservations.get(reservationId)?.after;
  if (found?.state !== "ACTIVE" || found.owner !== owner) return;
  finish(book, transit(found, "release", "order", book.now));
}

/** Expires a reservation whose time has run out; one that has ended or was given more time stays as it is. */
export function expire(book: Book, call: ExpireCall): StockResult {
  const found = book.reservations.get(call.reservationId)?.after;
  if (!found) throw reservationNotFound(call.reservationId);
  if (!isDue(found, book.now)) return { kind: "reservation", reservation: found, changed: false };
  return { kind: "reservation", reservation: expireNow(book, found, call.trigger), changed: true };
}

/** Gives a live reservation more time, or throws why not. */
export function extend(book: Book, call: ExtendCall): StockResult {
  const found = book.reservations.get(call.reservationId)?.after;
  if (!found) throw reservationNotFound(call.reservationId);
  refuseDue(book, found);
  const reservation = transit(found, "extend", "caller", book.now, book.now + call.ttlMs);
  put(book, reservation);
  return { kind: "reservation", reservation, changed: true };
}

// A release that comes before its reservation leaves a tombstone, so that a late create takes nothing.
function buryUnseen(book: Book, call: EndCall): StockResult {
  const reservation: Reservation = {
    reservationId: call.reservationId,
    state: "RELEASED",
    owner: ownerOf(call),
    lines: [],
    createTime: book.now,
    endTime: book.now,
  };
  put(book, reservation);
  return { kind: "reservation", reservation, changed: true };
}

// The first reservation of an order has its id, and messages from before there were others say no more.
function ownerOf({ orderId, reservationId }: EndCall): string {
  return ownerOfOrder(orderId ?? reservationId);
}

// Whoever touches a reservation whose time has run out finds it expired, whether or not anybody had swept it.
function refuseDue(book: Book, reservation: Reservation): void {
  if (isDue(reservation, book.now)) throw endedError(expireNow(book, reservation, "touch"));
}

function expireNow(book: Book, reservation: Reservation, trigger: ExpiryTrigger): Reservation {
  const expired = transit(reservation, "expire", "time", book.now);
  finish(book, expired);
  book.events.push({ type: "ReservationExpired", reservation: expired, trigger });
  return expired;
}

// Gives back what was promised, or makes it final.
function finish(book: Book, reservation: Reservation): void {
  const cause = reservation.reservationId;
  for (const { quantity, ...place } of reservation.lines) {
    const given = { reservedDelta: -quantity, cause };
    if (reservation.state === "COMMITTED")
      move(book, place, { type: "COMMIT", onHandDelta: -quantity, ...given });
    else
      move(book, place, {
        type: reservation.state === "EXPIRED" ? "EXPIRE" : "RELEASE",
        onHandDelta: 0,
        ...given,
      });
  }
  put(book, reservation);
}
