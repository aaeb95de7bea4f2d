/**
 * Payments that come after their order EXPIRED: the stock is reserved again and the order settled after all,
 * or the payment is to be given back. Pure, as order.ts is.
 */
import { DomainError } from "#libs/reasons";
import { type Actor, type Change, changed, type Order, type OrderEvent } from "./order.ts";

/**
 * The most references that an order keeps of payments that came too late. A customer pays twice by mistake;
 * a hundred are a machine that runs wild, and at 1,000 characters each they make a row of some 100 kB.
 */
const LATE_PAYMENTS_KEPT = 100;

/** What a caller wants done with a payment that comes too late. */
export type LatePolicy = "REACQUIRE" | "REFUSE";

/** A try to reserve an EXPIRED order's stock again, for a payment. */
export type LateAttempt = { readonly reservationId: string; readonly startTime: number };

/** Why a payment is given back: LATE_POLICY, PAID_BEFORE, ABANDONED, or Inventory's reason. */
export type RefundCause = string;

/** What a late payment comes to at once. */
export type LateStep =
  /** The stock is to be reserved again, under the attempt of the order; `change` if it has just begun. */
  | { readonly kind: "attempt"; readonly change: Change | undefined }
  /** The payment is given back, as the caller is told; `change` if that was not known before. */
  | { readonly kind: "refund"; readonly change: Change | undefined };

/**
 * Decides about a payment for an EXPIRED order. A payment is known by its reference: the same one again
 * changes nothing and goes the way of the first, whatever came in between. While one is being dealt with
 * another must wait; once one is, or was, to be given back, every other is too.
 */
export function payLate(
  order: Order,
  now: number,
  payment: { readonly reference: string; readonly policy: LatePolicy; readonly reservationId: string },
): LateStep {
  const { reference, policy, reservationId } = payment;
  const isKnown = reference === order.paymentReference || order.latePaymentReferences.includes(reference);
  if (order.lateAttempt) {
    if (!isKnown || policy === "REFUSE") throw anotherPayment(order);
    return { kind: "attempt", change: undefined };
  }
  if (order.refundRequired) {
    const change = isKnown ? undefined : noteFurtherPayment(order, now, reference);
    return { kind: "refund", change };
  }
  if (order.refundResolveTime !== undefined) {
    const change = isKnown ? undefined : requireRefund(order, now, reference, "PAID_BEFORE");
    return { kind: "refund", change };
  }
  if (policy === "REFUSE") {
    return { kind: "refund", change: requireRefund(order, now, reference, "LATE_POLICY") };
  }
  return { kind: "attempt", change: beginAttempt(order, now, reference, reservationId) };
}

/** Whether a payment for the EXPIRED order came before, and what it comes to; undefined if none did. */
export function lateStepOf(order: Order): LateStep | undefined {
  if (order.state !== "EXPIRED") return undefined;
  if (order.lateAttempt) return { kind: "attempt", change: undefined };
  const isRefund = order.refundRequired || order.refundResolveTime !== undefined;
  return isRefund ? { kind: "refund", change: undefined } : undefined;
}

/** EXPIRED to SETTLED: the stock is reserved again, under the attempt's reservation. */
export function settleLate(order: Order, now: number): Change {
  const { reservationId } = attemptOf(order);
  const { orderId, paymentReference } = order;
  const change = changed(order, "SETTLED", now, "api", paymentReference, {
    endTime: now,
    late: true,
    lateAttempt: undefined,
  });
  const event: OrderEvent = {
    type: "OrderSettled",
    orderId,
    paymentReference,
    time: now,
    late: { reservationId },
  };
  return { ...change, events: [event] };
}

/**
 * EXPIRED with an attempt to EXPIRED with a refund required. Whatever was reserved under the attempt, or will
 * be by a call still on its way, is released.
 */
export function failAttempt(order: Order, now: number, cause: RefundCause, actor: Actor): Change {
  const { reservationId } = attemptOf(order);
  const change = requireRefund(order, now, order.paymentReference, cause, actor);
  const release: OrderEvent = { type: "OrderAbandoned", orderId: order.orderId, time: now, reservationId };
  return { ...change, events: [...change.events, release] };
}

/** EXPIRED with a refund required to EXPIRED with the refund resolved. */
export function resolveRefund(order: Order, now: number, resolution: string): Change {
  if (!order.refundRequired) {
    const message = "no payment of the order is to be given back, or its refund is resolved already";
    throw new DomainError("REFUND_NOT_REQUIRED", message, {
      metadata: { order_id: order.orderId, state: order.state },
    });
  }
  const change = changed(order, "EXPIRED", now, "api", `refund resolved: ${resolution}`, {
    refundRequired: false,
    refundResolution: resolution,
    refundResolveTime: now,
  });
  return { ...change, events: [] };
}

/** Whether the refund is resolved in this way already: saying so again is nothing. */
export function isResolvedSo(order: Order, resolution: string): boolean {
  return order.refundResolveTime !== undefined && order.refundResolution === resolution;
}

/** What the caller of a payment that must be given back is told. */
export function refundError(order: Order): DomainError {
  return new DomainError(
    "ORDER_EXPIRED",
    "the payment came after the order's time had run out: it is to be given back; place a new order",
    { metadata: { order_id: order.orderId, state: "EXPIRED", refund_required: "true" } },
  );
}

function beginAttempt(order: Order, now: number, paymentReference: string, reservationId: string): Change {
  const reason = named("late payment", paymentReference);
  const lateAttempt = { reservationId, startTime: now };
  const change = changed(order, "EXPIRED", now, "api", reason, {
    paymentReference,
    latePaymentReferences: referencesWith(order, paymentReference),
    lateAttempt,
    lateReservationId: reservationId,
  });
  return { ...change, events: [] };
}

function requireRefund(
  order: Order,
  now: number,
  paymentReference: string,
  cause: RefundCause,
  actor: Actor = "api",
): Change {
  const reason = named(`refund required, ${cause}`, paymentReference);
  const change = changed(order, "EXPIRED", now, actor, reason, {
    paymentReference,
    latePaymentReferences: referencesWith(order, paymentReference),
    lateAttempt: undefined,
    refundRequired: true,
    refundResolution: "",
    refundResolveTime: undefined,
  });
  const { orderId } = order;
  const event: OrderEvent = { type: "OrderRefundRequired", orderId, paymentReference, cause, time: now };
  return { ...change, events: [event] };
}

function noteFurtherPayment(order: Order, now: number, reference: string): Change {
  const reason = named("another payment came too late, give it back too", reference);
  const latePaymentReferences = referencesWith(order, reference);
  return { ...changed(order, "EXPIRED", now, "api", reason, { latePaymentReferences }), events: [] };
}

// The order's own is among them, because a release before has written it nowhere else. The newest are kept:
// who repeats a payment does so soon. One without a reference can't be told from another such.
function referencesWith(order: Order, reference: string): readonly string[] {
  const references = new Set([order.paymentReference, ...order.latePaymentReferences, reference]);
  references.delete("");
  return [...references].slice(-LATE_PAYMENTS_KEPT);
}

function named(what: string, paymentReference: string): string {
  return paymentReference === "" ? what : `${what}: ${paymentReference}`;
}

function attemptOf(order: Order): LateAttempt {
  if (order.state !== "EXPIRED" || !order.lateAttempt) {
    throw new Error(`order ${order.orderId} is ${order.state} without a late payment under way`);
  }
  return order.lateAttempt;
}

function anotherPayment({ orderId }: Order): DomainError {
  return new DomainError(
    "CONFLICT",
    "another late payment of the order is being dealt with: send the same request again in a moment",
    { metadata: { order_id: orderId, state: "EXPIRED" }, retryAfterMs: 500 },
  );
}
