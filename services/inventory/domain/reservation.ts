/** The life of a reservation: ACTIVE, then COMMITTED, RELEASED or EXPIRED, for ever. */
import { DomainError, type Reason } from "#libs/reasons";
import { comparePlaces, type Place, placeKey } from "./stock.ts";

export type ReservationState = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";

export type Line = Place & { readonly quantity: number };

/** A promise of units; times are epoch milliseconds. */
export type Reservation = {
  readonly reservationId: string;
  readonly state: ReservationState;
  readonly owner: string;
  /** One a (sku, location), sorted; none in a tombstone. */
  readonly lines: readonly Line[];
  readonly createTime: number;
  /** Absent if only its order ends it. */
  readonly expireTime?: number;
  readonly endTime?: number;
};

/** What ends a reservation, or gives it more time. */
export type Transition = "commit" | "release" | "expire" | "extend";

/** Who asks: a caller of the API, the order that owns it, or time. */
export type Party = "caller" | "order" | "time";

const ORDER_PREFIX = "orders/";

const endedBy = { commit: "COMMITTED", release: "RELEASED", expire: "EXPIRED" } as const;

const reasonOfState: Readonly<Record<Exclude<ReservationState, "ACTIVE">, Reason>> = {
  COMMITTED: "RESERVATION_COMMITTED",
  RELEASED: "RESERVATION_RELEASED",
  EXPIRED: "RESERVATION_EXPIRED",
};

/** The owner of the reservations that an order makes: one, and another if it is paid late. */
export function ownerOfOrder(orderId: string): string {
  return `${ORDER_PREFIX}${orderId}`;
}

/** Whether only the outcome of an order ends it. */
export function isOwnedByOrder(reservation: Pick<Reservation, "owner">): boolean {
  return reservation.owner.startsWith(ORDER_PREFIX);
}

const UUID_VERSION_AT = 14;

/** When an id says that it was made, if it is a UUIDv7: its first 48 bits are the milliseconds since 1970. */
export function madeAt(id: string): number | undefined {
  if (id[UUID_VERSION_AT] !== "7") return undefined;
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Whether its time has run out, swept or not. */
export function isDue(reservation: Reservation, now: number): boolean {
  return reservation.state === "ACTIVE" && (reservation.expireTime ?? Number.POSITIVE_INFINITY) <= now;
}

/** The reservation as a reader sees it: one whose time has run out reads EXPIRED, ended when it fell due. */
export function readAt(reservation: Reservation, now: number): Reservation {
  if (!isDue(reservation, now) || reservation.expireTime === undefined) return reservation;
  return { ...reservation, state: "EXPIRED", endTime: reservation.expireTime };
}

/** One line a (sku, location), their quantities summed, in the order of locks. */
export function sumLines(lines: readonly Line[]): Line[] {
  if (lines.length === 1) return [...lines];
  const sums = new Map<string, Line>();
  for (const line of lines) {
    const key = placeKey(line);
    const sum = sums.get(key);
    sums.set(key, sum ? { ...sum, quantity: sum.quantity + line.quantity } : line);
  }
  return [...sums.values()].sort(comparePlaces);
}

/**
 * The reservation after a transition at `now`, which is the same one when nothing is to be done. Throws a
 * DomainError that names what stands against it. A due one must be expired before anything else is tried.
 */
export function transit(
  reservation: Reservation,
  transition: Transition,
  party: Party,
  now: number,
  expireTime?: number,
): Reservation {
  refuseStranger(reservation, party);
  const { state } = reservation;
  if (transition === "extend") {
    if (state !== "ACTIVE") throw endedError(reservation);
    if (expireTime === undefined) throw new Error("an extension needs a time");
    return { ...reservation, expireTime: Math.max(expireTime, reservation.expireTime ?? 0) };
  }
  const target = endedBy[transition];
  // An order may tell its outcome twice.
  if (state === target && party === "order") return reservation;
  if (transition === "expire" && state === "ACTIVE" && !isDue(reservation, now)) {
    throw new Error(`reservation ${reservation.reservationId} is not due`);
  }
  if (state !== "ACTIVE") throw endedError(reservation);
  return { ...reservation, state: target, endTime: now };
}

/** What a caller is told of a reservation that has ended. */
export function endedError(reservation: Reservation): DomainError {
  if (reservation.state === "ACTIVE") throw new Error("a live reservation has not ended");
  const state = reservation.state.toLowerCase();
  return new DomainError(
    reasonOfState[reservation.state],
    `reservation ${reservation.reservationId} is ${state}, and stays so`,
    { metadata: { reservation_id: reservation.reservationId, state: reservation.state } },
  );
}

/** What a caller is told of an id that is not known. */
export function reservationNotFound(reservationId: string): DomainError {
  return new DomainError("RESERVATION_NOT_FOUND", `there is no reservation ${reservationId}`, {
    metadata: { reservation_id: reservationId },
  });
}

/** What a caller is told of an id that another request took. */
export function reservationExists(reservationId: string): DomainError {
  return new DomainError(
    "RESERVATION_EXISTS",
    `reservation ${reservationId} was made by another request: use another reservation_id`,
    { metadata: { reservation_id: reservationId } },
  );
}

function refuseStranger(reservation: Reservation, party: Party): void {
  const { reservationId, owner } = reservation;
  if (party === "caller" && isOwnedByOrder(reservation)) {
    throw new DomainError(
      "RESERVATION_OWNED_BY_ORDER",
      `reservation ${reservationId} ends with its order: settle or cancel ${owner}`,
      { metadata: { reservation_id: reservationId, owner } },
    );
  }
  if (party === "order" && !isOwnedByOrder(reservation)) throw reservationExists(reservationId);
}
