/** Decides, without looking anything up, whether an order and its reservation agree. */
import type { FindingKind } from "./finding.ts";

export type OrderState = "RESERVING" | "PENDING" | "SETTLED" | "CANCELLED" | "EXPIRED" | "REJECTED";
export type ReservationState = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";

export type Line = { readonly sku: string; readonly locationId: string; readonly quantity: number };

/** An order as its database has it. Ages are by that database's clock, at the moment of reading. */
export type OrderFacts = {
  readonly tenant: string;
  readonly orderId: string;
  readonly state: OrderState;
  readonly version: number;
  readonly rejectionReason: string | undefined;
  readonly lines: readonly Line[];
  /** Since it came into being, and since its last change. */
  readonly ageMs: number;
  readonly unchangedMs: number;
  /** Since it fell due; negative while it has time, undefined if it was never PENDING. */
  readonly overdueMs: number | undefined;
  readonly endTime: number | undefined;
  /** What its history comes to. */
  readonly transitions: number;
  readonly lastSequence: number;
  readonly lastState: string;
};

/** A reservation that belongs to an order, as Inventory's database has it. */
export type ReservationFacts = {
  readonly tenant: string;
  readonly reservationId: string;
  readonly state: ReservationState;
  readonly lines: readonly Line[];
  /** Whether the rows that say who has what reserved are those of the reservation; true once it has ended. */
  readonly linesAreKept: boolean;
  readonly unchangedMs: number;
};

export type Limits = {
  /** A RESERVING order is given up before it is older than this. */
  readonly reservingMs: number;
  /** A PENDING order is expired before it is overdue by more than this. */
  readonly overdueMs: number;
  /** An event has reached Inventory and taken effect before it is older than this. */
  readonly eventMs: number;
};

/** Something that looks wrong. It is so when it still looks so once it is older than its limit. */
export type Suspicion = {
  readonly kind: FindingKind;
  readonly tenant: string;
  readonly id: string;
  readonly detail: string;
  readonly ageMs: number;
  readonly limitMs: number;
  /** Whether the event of the order's outcome, on its way, would end it. */
  readonly isEventAwaited: boolean;
};

export type Pair = {
  readonly order: OrderFacts | undefined;
  readonly reservation: ReservationFacts | undefined;
  /** Whether the reservation is the second of its id. */
  readonly isTwice: boolean;
};

/**
 * Everything that looks wrong about an order and its reservation. `forgottenBefore` is the time before which ended
 * reservations may have been taken out of use.
 */
export function suspicionsOf(pair: Pair, limits: Limits, forgottenBefore: number): Suspicion[] {
  const { order, reservation } = pair;
  if (!order) return reservation ? suspicionsOfLone(reservation, pair.isTwice, limits) : [];
  return [
    ...suspicionsOfTime(order, limits),
    ...suspicionsOfHistory(order, limits),
    ...(reservation
      ? suspicionsOfBoth(order, reservation, limits)
      : suspicionsOfUnreserved(order, limits, forgottenBefore)),
  ];
}

/** What the reservation of an order in each state must be once its events have arrived; none is `undefined`. */
const agreeing: Readonly<Record<OrderState, readonly (ReservationState | undefined)[]>> = {
  RESERVING: [undefined, "ACTIVE", "RELEASED"],
  PENDING: ["ACTIVE"],
  SETTLED: ["COMMITTED"],
  CANCELLED: ["RELEASED"],
  EXPIRED: ["RELEASED"],
  REJECTED: [undefined, "RELEASED"],
};

function suspicionsOfLone(reservation: ReservationFacts, isTwice: boolean, limits: Limits): Suspicion[] {
  const { state } = reservation;
  // What was given back without an order took nothing from anybody.
  if (!isTwice && state === "RELEASED") return [];
  return [
    {
      kind: isTwice ? "RESERVATION_TWICE" : "ORDER_MISSING",
      tenant: reservation.tenant,
      id: reservation.reservationId,
      detail: isTwice
        ? `a second reservation of this id is ${state}`
        : `a reservation is ${state} for an order that does not exist`,
      ageMs: reservation.unchangedMs,
      limitMs: limits.eventMs,
      isEventAwaited: false,
    },
  ];
}

function suspicionsOfTime(order: OrderFacts, limits: Limits): Suspicion[] {
  const { tenant, orderId: id, state, ageMs, overdueMs } = order;
  if (state === "RESERVING" && ageMs > limits.reservingMs) {
    const detail = `RESERVING for ${seconds(ageMs)}`;
    const limitMs = limits.reservingMs;
    return [{ kind: "RESERVING_TOO_LONG", tenant, id, detail, ageMs, limitMs, isEventAwaited: false }];
  }
  if (state === "PENDING" && overdueMs !== undefined && overdueMs > limits.overdueMs) {
    const detail = `PENDING, overdue by ${seconds(overdueMs)}`;
    const limitMs = limits.overdueMs;
    return [{ kind: "OVERDUE", tenant, id, detail, ageMs: overdueMs, limitMs, isEventAwaited: false }];
  }
  return [];
}

// History is written in the transaction of its transition, so one snapshot shows both or neither.
function suspicionsOfHistory(order: OrderFacts, limits: Limits): Suspicion[] {
  const { version, transitions, lastSequence, lastState, state } = order;
  if (transitions === version && lastSequence === version && lastState === state) return [];
  const history = `${transitions} rows up to ${lastSequence}, the last to ${lastState || "nothing"}`;
  return [
    {
      kind: "HISTORY_BROKEN",
      tenant: order.tenant,
      id: order.orderId,
      detail: `${state} after ${version} transitions, but its history has ${history}`,
      ageMs: order.unchangedMs,
      limitMs: limits.eventMs,
      isEventAwaited: false,
    },
  ];
}

function suspicionsOfUnreserved(order: OrderFacts, limits: Limits, forgottenBefore: number): Suspicion[] {
  if (agreeing[order.state].includes(undefined)) return [];
  if (order.endTime !== undefined && order.endTime < forgottenBefore) return [];
  return [
    {
      kind: "RESERVATION_MISSING",
      tenant: order.tenant,
      id: order.orderId,
      detail: `${order.state} without a reservation`,
      ageMs: order.unchangedMs,
      limitMs: limits.eventMs,
      isEventAwaited: false,
    },
  ];
}

function suspicionsOfBoth(order: OrderFacts, reservation: ReservationFacts, limits: Limits): Suspicion[] {
  const common = {
    tenant: order.tenant,
    id: order.orderId,
    ageMs: Math.min(order.unchangedMs, reservation.unchangedMs),
    limitMs: limits.eventMs,
  };
  const found: Suspicion[] = [];
  if (!agreeing[order.state].includes(reservation.state)) {
    const reason = order.rejectionReason ? ` (${order.rejectionReason})` : "";
    const detail = `${order.state}${reason}, and its reservation is ${reservation.state}`;
    found.push({
      kind: "STATES_DISAGREE",
      detail,
      isEventAwaited: awaitsEvent(order, reservation),
      ...common,
    });
  }
  // A tombstone has no lines.
  const ofOrder = nameLines(order.lines);
  const ofReservation = nameLines(reservation.lines);
  if (ofOrder !== ofReservation && !(reservation.state === "RELEASED" && ofReservation === "")) {
    const detail = `ordered ${ofOrder}, reserved ${ofReservation}`;
    found.push({ kind: "LINES_DISAGREE", detail, isEventAwaited: false, ...common });
  }
  if (!reservation.linesAreKept) {
    const detail = "the rows that say who has what reserved are not those of its reservation";
    found.push({ kind: "LINES_DISAGREE", detail, isEventAwaited: false, ...common });
  }
  return found;
}

/** An outcome that Inventory has not heard of yet: its event is on its way, or lost. */
function awaitsEvent(order: OrderFacts, reservation: ReservationFacts): boolean {
  if (reservation.state !== "ACTIVE") return false;
  // An order that is rejected for its stock has none, and tells Inventory nothing.
  return order.state === "REJECTED" ? order.rejectionReason === "ABANDONED" : order.endTime !== undefined;
}

function nameLines(lines: readonly Line[]): string {
  const sums = new Map<string, number>();
  for (const { sku, locationId, quantity } of lines) {
    const place = `${sku}/${locationId || "main"}`;
    sums.set(place, (sums.get(place) ?? 0) + quantity);
  }
  return [...sums]
    .map(([place, quantity]) => `${quantity} ${place}`)
    .sort()
    .join(", ");
}

/** A length of time for a person. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
