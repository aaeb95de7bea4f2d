/**
 * The working set of one batch: the levels and reservations that its calls touch, read while they are
 * locked. Calls are applied to it in the order of their arrival, each decided by what those before it left;
 * a refused one leaves no trace but the end of what was over anyway. What differs at the end is what the
 * store writes.
 */
import type { RequestRecord, StockEvent } from "./calls.ts";
import type { Reservation } from "./reservation.ts";
import {
  type Absence,
  type Change,
  crossingOf,
  type Level,
  type Movement,
  moveStock,
  type Place,
  placeKey,
} from "./stock.ts";

/** A reservation of the batch: as it was read (absent if it is new), and as it is now. */
export type Entry = { readonly before: Reservation | undefined; after: Reservation };

export type Book = {
  /** When all of the batch happens. */
  readonly now: number;
  /** By placeKey: every place that a call names. */
  readonly levels: Map<string, Level | Absence>;
  /** By id: every reservation that is there of those that the calls name. */
  readonly reservations: Map<string, Entry>;
  /** By id: every request that took effect before. */
  readonly requests: Map<string, RequestRecord>;
  /** What the batch adds. */
  readonly movements: Movement[];
  readonly events: StockEvent[];
  readonly newRequests: RequestRecord[];
};

/** A book of what was read; nothing has happened yet. */
export function openBook(
  read: Pick<Book, "now" | "levels" | "requests"> & { reservations: Reservation[] },
): Book {
  return {
    now: read.now,
    levels: read.levels,
    requests: read.requests,
    reservations: new Map(
      read.reservations.map((found) => [found.reservationId, { before: found, after: found }]),
    ),
    movements: [],
    events: [],
    newRequests: [],
  };
}

/** The level of a place that is known to have one. */
function levelOf(book: Book, place: Place): Level {
  const level = book.levels.get(placeKey(place));
  if (level === undefined || "absent" in level) throw new Error(`${placeKey(place)} was not read`);
  return level;
}

/** Changes a level and writes its movement, and tells when the reorder point is crossed. */
export function move(book: Book, place: Place, change: Omit<Change, "createTime">): Movement {
  const before = levelOf(book, place);
  const { level, movement } = moveStock(before, { ...change, createTime: book.now });
  book.levels.set(placeKey(place), level);
  book.movements.push(movement);
  const crossing = crossingOf(before, level);
  if (crossing) {
    book.events.push({
      type: crossing === "low" ? "StockRanLow" : "StockReplenished",
      sku: level.sku,
      locationId: level.locationId,
      available: level.onHand - level.reserved,
      reorderPoint: level.reorderPoint,
      version: level.version,
    });
  }
  return movement;
}

/** Puts a reservation into the book, new or changed. */
export function put(book: Book, reservation: Reservation): void {
  const entry = book.reservations.get(reservation.reservationId);
  if (entry) entry.after = reservation;
  else book.reservations.set(reservation.reservationId, { before: undefined, after: reservation });
}
