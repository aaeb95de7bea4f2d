/** The life of an order. Pure: times are milliseconds since 1970 and come from the database's clock. */
import { DomainError, type FieldViolation, invalidField, type Shortage, unreachable } from "#libs/reasons";
import type { LateAttempt, RefundCause } from "./late.ts";

export type State = "RESERVING" | "PENDING" | "SETTLED" | "CANCELLED" | "EXPIRED" | "REJECTED";

/** Who makes a transition: a call, or what noticed that it was time. */
export type Actor = "api" | "nudge" | "sweeper" | "touch" | "recovery";

export type OrderLine = {
  readonly sku: string;
  readonly quantity: number;
  /** Never empty: who names none means the default location. */
  readonly locationId: string;
  readonly unitAmount: bigint;
};

/** Why an order never had its stock, in full, so that its request is answered the same again. */
export type Rejection = {
  readonly reason: "INSUFFICIENT_STOCK" | "ITEM_ARCHIVED" | "ABANDONED";
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fields: readonly FieldViolation[];
  readonly shortages: readonly Shortage[];
};

/** What a caller wants placed. */
export type Draft = {
  readonly orderId: string;
  readonly customerId: string;
  readonly lines: readonly OrderLine[];
  readonly currency: string;
  readonly note: string;
};

export type Order = Draft & {
  readonly state: State;
  /** The number of transitions so far. */
  readonly version: number;
  readonly createTime: number;
  readonly updateTime: number;
  /** Absent for an order that was never PENDING. */
  readonly expireTime: number | undefined;
  /** Absent while it lives. */
  readonly endTime: number | undefined;
  readonly paymentReference: string;
  readonly cancelReason: string;
  readonly rejection: Rejection | undefined;
  /** Whether it was settled after it had EXPIRED. */
  readonly late: boolean;
  /** Under which its stock was, or is being, reserved again. */
  readonly lateReservationId: string | undefined;
  /** Absent when no late payment is being dealt with. */
  readonly lateAttempt: LateAttempt | undefined;
  /** Of all payments that came too late, oldest first; known of an order that is locked to be judged. */
  readonly latePaymentReferences: readonly string[];
  /** Whether a payment came too late and is to be given back. */
  readonly refundRequired: boolean;
  readonly refundResolution: string;
  readonly refundResolveTime: number | undefined;
};

/** A row of the order's history. */
export type Transition = {
  readonly orderId: string;
  readonly sequence: number;
  readonly fromState: State | undefined;
  readonly toState: State;
  readonly time: number;
  readonly actor: Actor;
  readonly reason: string;
};

/** What the others are told. */
export type OrderEvent =
  | { readonly type: "OrderPlaced"; readonly order: Order }
  | {
      readonly type: "OrderRejected";
      readonly orderId: string;
      readonly rejection: Rejection;
      readonly time: number;
    }
  | {
      readonly type: "OrderAbandoned";
      readonly orderId: string;
      readonly time: number;
      /** Absent for the order's first reservation, which has its id. */
      readonly reservationId?: string;
    }
  | {
      readonly type: "OrderSettled";
      readonly orderId: string;
      readonly paymentReference: string;
      readonly time: number;
      /** Absent for an order that was settled in time. */
      readonly late?: { readonly reservationId: string };
    }
  | {
      readonly type: "OrderRefundRequired";
      readonly orderId: string;
      readonly paymentReference: string;
      readonly cause: RefundCause;
      readonly time: number;
    }
  | {
      readonly type: "OrderCancelled";
      readonly orderId: string;
      readonly reason: string;
      readonly time: number;
    }
  | {
      readonly type: "OrderExpired";
      readonly orderId: string;
      readonly expireTime: number;
      readonly time: number;
    }
  | { readonly type: "OrderExtended"; readonly orderId: string; readonly expireTime: number };

/** What a transition leaves behind: the new state, its row of history and its events. */
export type Change = {
  readonly order: Order;
  readonly transition: Transition;
  readonly events: readonly OrderEvent[];
};

/** Refuses a draft whose fields contradict each other; the shape of each was judged before. */
export function checkDraft(draft: Omit<Draft, "orderId">): void {
  if (draft.currency === "" && draft.lines.some((line) => line.unitAmount > 0n)) {
    throw invalidField("currency", "must be given (three capitals, such as EUR) if a line has a unit_amount");
  }
}

/** The sum of quantity x unit_amount: at most 100 x 10^6 x 10^10 = 10^18, so it fits an int64. */
export function totalAmountOf(lines: readonly OrderLine[]): bigint {
  return lines.reduce((total, line) => total + BigInt(line.quantity) * line.unitAmount, 0n);
}

/** The state as it reads at `now`: a PENDING order whose time has passed is EXPIRED, swept or not. */
export function stateAt(order: Pick<Order, "state" | "expireTime">, now: number): State {
  return isDue(order, now) ? "EXPIRED" : order.state;
}

/** Whether the order waits to be expired. */
export function isDue(order: Pick<Order, "state" | "expireTime">, now: number): boolean {
  return order.state === "PENDING" && order.expireTime !== undefined && order.expireTime <= now;
}

/** A new order: RESERVING. It is told to nobody before it has its stock. */
export function place(draft: Draft, now: number): Order {
  return {
    ...draft,
    state: "RESERVING",
    version: 1,
    createTime: now,
    updateTime: now,
    expireTime: undefined,
    endTime: undefined,
    paymentReference: "",
    cancelReason: "",
    rejection: undefined,
    late: false,
    lateReservationId: undefined,
    lateAttempt: undefined,
    latePaymentReferences: [],
    refundRequired: false,
    refundResolution: "",
    refundResolveTime: undefined,
  };
}

/** RESERVING to PENDING: its stock is reserved until `expireTime`. */
export function confirm(order: Order, now: number, expireTime: number): Change {
  requireReserving(order);
  const change = changed(order, "PENDING", now, "api", "", { expireTime });
  return { ...change, events: [{ type: "OrderPlaced", order: change.order }] };
}

/**
 * RESERVING to REJECTED: its stock is not there. With `releases` it may yet be reserved, by another try at
 * the same order, so whatever comes under its id is released too.
 */
export function reject(order: Order, now: number, rejection: Rejection, releases: boolean): Change {
  requireReserving(order);
  const change = changed(order, "REJECTED", now, "api", rejection.reason, { endTime: now, rejection });
  const { orderId } = order;
  const events: OrderEvent[] = [{ type: "OrderRejected", orderId, rejection, time: now }];
  if (releases) events.push({ type: "OrderAbandoned", orderId, time: now });
  return { ...change, events };
}

/**
 * RESERVING to REJECTED: nobody knows what became of its stock, so whatever was reserved is released by its
 * id.
 */
export function abandon(order: Order, now: number, actor: Actor): Change {
  requireReserving(order);
  const change = changed(order, "REJECTED", now, actor, "ABANDONED", {
    endTime: now,
    rejection: abandonment,
  });
  return { ...change, events: [{ type: "OrderAbandoned", orderId: order.orderId, time: now }] };
}

/** PENDING and not due to SETTLED. */
export function settle(order: Order, now: number, paymentReference: string): Change {
  requirePending(order, now);
  const change = changed(order, "SETTLED", now, "api", paymentReference, { endTime: now, paymentReference });
  const { orderId } = order;
  return { ...change, events: [{ type: "OrderSettled", orderId, paymentReference, time: now }] };
}

/** PENDING and not due to CANCELLED. */
export function cancel(order: Order, now: number, reason: string): Change {
  requirePending(order, now);
  const change = changed(order, "CANCELLED", now, "api", reason, { endTime: now, cancelReason: reason });
  return { ...change, events: [{ type: "OrderCancelled", orderId: order.orderId, reason, time: now }] };
}

/**
 * PENDING and not due to PENDING for longer; a ttl that ends before the present expire_time takes nothing
 * away.
 */
export function extend(order: Order, now: number, ttlMs: number): Change {
  requirePending(order, now);
  const expireTime = Math.max(order.expireTime ?? 0, now + ttlMs);
  const change = changed(order, "PENDING", now, "api", "extended", { expireTime });
  return { ...change, events: [{ type: "OrderExtended", orderId: order.orderId, expireTime }] };
}

/** PENDING and due to EXPIRED. */
export function expire(order: Order, now: number, actor: Actor): Change {
  if (!isDue(order, now))
    throw new Error(`order ${order.orderId} is ${order.state} and not due: it can't expire`);
  const change = changed(order, "EXPIRED", now, actor, "", { endTime: now });
  const { orderId, expireTime = now } = order;
  return { ...change, events: [{ type: "OrderExpired", orderId, expireTime, time: now }] };
}

/** Why a given up order was rejected, for whoever asks for it again. */
export const abandonment: Rejection = {
  reason: "ABANDONED",
  message: "Inventory did not answer in time and the order was given up: place it again under a new id",
  metadata: {},
  fields: [],
  shortages: [],
};

/** The rejection for stock that is not there. */
export function shortageOf(orderId: string, shortages: readonly Shortage[]): Rejection {
  const parts = shortages.map(
    ({ sku, locationId, requested, available }) =>
      `${sku} at ${locationId}: ${requested} requested, ${available} available`,
  );
  return {
    reason: "INSUFFICIENT_STOCK",
    message: `there is not enough stock (${parts.join("; ")}): order less, or later under a new request_id`,
    metadata: { order_id: orderId },
    fields: [],
    shortages,
  };
}

/** What a caller is told of an order that was rejected: the same at every repetition of its request. */
export function rejectionError(orderId: string, rejection: Rejection): DomainError {
  const reason = rejection.reason === "ABANDONED" ? "ORDER_REJECTED" : rejection.reason;
  return new DomainError(reason, rejection.message, {
    metadata: { ...rejection.metadata, order_id: orderId },
    fields: rejection.fields,
    shortages: rejection.shortages,
  });
}

function requireReserving(order: Order): void {
  // The callers' statements are conditional on it, so another state here is a defect.
  if (order.state !== "RESERVING") throw new Error(`order ${order.orderId} is ${order.state}, not RESERVING`);
}

function requirePending(order: Order, now: number): void {
  const state = stateAt(order, now);
  const data = { metadata: { order_id: order.orderId, state } };
  switch (state) {
    case "PENDING":
      return;
    case "RESERVING":
      throw new DomainError(
        "CONFLICT",
        "the order's stock is still being reserved: send the same request again in a moment",
        { ...data, retryAfterMs: 500 },
      );
    case "SETTLED":
      throw new DomainError("ORDER_SETTLED", "the order is settled already: its outcome stands", data);
    case "CANCELLED":
      throw new DomainError("ORDER_CANCELLED", "the order is cancelled already: place a new one", data);
    case "EXPIRED":
      throw new DomainError("ORDER_EXPIRED", "the order's time ran out: place a new one", data);
    case "REJECTED":
      throw new DomainError("ORDER_REJECTED", "the order was rejected: it never had its stock", data);
    default:
      unreachable(state);
  }
}

/** The order in a state, at its next version, and the row of history that says so. */
export function changed(
  order: Order,
  toState: State,
  now: number,
  actor: Actor,
  reason: string,
  fields: Partial<Order>,
): Omit<Change, "events"> {
  const version = order.version + 1;
  return {
    order: { ...order, ...fields, state: toState, version, updateTime: now },
    transition: {
      orderId: order.orderId,
      sequence: version,
      fromState: order.state,
      toState,
      time: now,
      actor,
      reason,
    },
  };
}
