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
  readonly expireTime: number | undefined;
  /** Whether it was paid after its time, with stock that was reserved again. */
  readonly isLate: boolean;
  /** Under which its stock was reserved again, or a try was made. */
  readonly lateReservationId: string | undefined;
  /** Since that try began; undefined when none is under way. */
  readonly tryingMs: number | undefined;
  /** What its history comes to. */
  readonly transitions: number;
  readonly lastSequence: number;
  readonly lastState: string;
};

/** A reservation that belongs to an order, as Inventory's database has it. */
export type ReservationFacts = {
  readonly tenant: string;
  /** The order's own id, or another one where its stock was reserved again. */
  readonly reservationId: string;
  /** Whose it is. */
  readonly orderId: string;
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

/** An order with all reservations that are known to be its own. */
export type Case = {
  readonly order: OrderFacts | undefined;
  readonly reservations: readonly ReservationFacts[];
};

/**
 * Everything that looks wrong about an order and its reservations. `forgottenBefore` is the time before which
 * ended reservations may have been taken out of use.
 */
export function suspicionsOf(
  { order, reservations }: Case,
  limits: Limits,
  forgottenBefore: number,
): Suspicion[] {
  if (!order) return reservations.flatMap((lone) => suspicionsOfStray(lone, limits, "that does not exist"));
  const [first, ...more] = reservations.filter(({ reservationId }) => reservationId === order.orderId);
  const late = reservations.find(({ reservationId }) => reservationId === order.lateReservationId);
  const strays = reservations.filter((one) => one !== first && one !== late && !more.includes(one));
  return [
    ...suspicionsOfTime(order, limits),
    ...suspicionsOfHistory(order, limits),
    // What was paid late had expired first.
    ...suspicionsOfOne(
      order,
      first,
      agreeing[order.isLate ? "EXPIRED" : order.state],
      limits,
      isBefore(order.isLate ? order.expireTime : order.endTime, forgottenBefore),
    ),
    ...(order.lateReservationId === undefined
      ? []
      : suspicionsOfOne(order, late, agreeingLate(order), limits, isBefore(order.endTime, forgottenBefore))),
    ...more.map((second) => suspicionOfSecond(second, limits)),
    ...strays.flatMap((stray) => suspicionsOfStray(stray, limits, "that does not know of it")),
  ];
}

function isBefore(time: number | undefined, limit: number): boolean {
  return time !== undefined && time < limit;
}

type Agreeing = readonly (ReservationState | undefined)[];

/**
 * What the reservation of an order in each state must be once its events have arrived; none is `undefined`.
 */
const agreeing: Readonly<Record<OrderState, Agreeing>> = {
  RESERVING: [undefined, "ACTIVE", "RELEASED"],
  PENDING: ["ACTIVE"],
  SETTLED: ["COMMITTED"],
  CANCELLED: ["RELEASED"],
  EXPIRED: ["RELEASED"],
  REJECTED: [undefined, "RELEASED"],
};

/** The same of the reservation that was to serve a late payment. */
function agreeingLate({ isLate, tryingMs }: OrderFacts): Agreeing {
  if (isLate) return ["COMMITTED"];
  return tryingMs === undefined ? [undefined, "RELEASED"] : [undefined, "ACTIVE", "RELEASED"];
}

function suspicionsOfStray(reservation: ReservationFacts, limits: Limits, of: string): Suspicion[] {
  const { tenant, orderId: id, reservationId, state } = reservation;
  // What was given back without an order took nothing from anybody.
  if (state === "RELEASED") return [];
  const detail = `reservation ${reservationId} is ${state} for an order ${of}`;
  const ageMs = reservation.unchangedMs;
  return [
    { kind: "ORDER_MISSING", tenant, id, detail, ageMs, limitMs: limits.eventMs, isEventAwaited: false },
  ];
}

function suspicionOfSecond(reservation: ReservationFacts, limits: Limits): Suspicion {
  const { tenant, orderId: id, unchangedMs: ageMs } = reservation;
  const detail = `a second reservation of this id is ${reservation.state}`;
  const limitMs = limits.eventMs;
  return { kind: "RESERVATION_TWICE", tenant, id, detail, ageMs, limitMs, isEventAwaited: false };
}

function suspicionsOfTime(order: OrderFacts, limits: Limits): Suspicion[] {
  const { tenant, orderId: id, state, ageMs, overdueMs, tryingMs } = order;
  if (state === "RESERVING" && ageMs > limits.reservingMs) {
    const detail = `RESERVING for ${seconds(ageMs)}`;
    const limitMs = limits.reservingMs;
    return [{ kind: "RESERVING_TOO_LONG", tenant, id, detail, ageMs, limitMs, isEventAwaited: false }];
  }
  if (tryingMs !== undefined && tryingMs > limits.reservingMs) {
    const detail = `its stock has been reserved again for ${seconds(tryingMs)}`;
    const limitMs = limits.reservingMs;
    return [
      { kind: "RESERVING_TOO_LONG", tenant, id, detail, ageMs: tryingMs, limitMs, isEventAwaited: false },
    ];
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

function suspicionsOfOne(
  order: OrderFacts,
  reservation: ReservationFacts | undefined,
  allowed: Agreeing,
  limits: Limits,
  mayBeForgotten: boolean,
): Suspicion[] {
  if (reservation) return suspicionsOfBoth(order, reservation, allowed, limits);
  if (allowed.includes(undefined) || mayBeForgotten) return [];
  return [
    {
      kind: "RESERVATION_MISSING",
      tenant: order.tenant,
      id: order.orderId,
      detail: `${order.state}${order.isLate ? " (late)" : ""} without a reservation`,
      ageMs: order.unchangedMs,
      limitMs: limits.eventMs,
      isEventAwaited: false,
    },
  ];
}

function suspicionsOfBoth(
  order: OrderFacts,
  reservation: ReservationFacts,
  allowed: Agreeing,
  limits: Limits,
): Suspicion[] {
  const common = {
    tenant: order.tenant,
    id: order.orderId,
    ageMs: Math.min(order.unchangedMs, reservation.unchangedMs),
    limitMs: limits.eventMs,
  };
  const found: Suspicion[] = [];
  if (!allowed.includes(reservation.state)) {
    const mark = order.rejectionReason ?? (order.isLate ? "late" : undefined);
    const which = reservation.reservationId === order.orderId ? "its reservation" : "its late reservation";
    const detail = `${order.state}${mark ? ` (${mark})` : ""}, and ${which} is ${reservation.state}`;
    const isEventAwaited = awaitsEvent(order, reservation);
    found.push({ kind: "STATES_DISAGREE", detail, isEventAwaited, ...common });
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
  return reservation.state === "ACTIVE" && order.endTime !== undefined;
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
