/** What a call wants done to an order, and what the order makes of it. */
import { type DomainError, unreachable } from "#libs/reasons";
import {
  failAttempt,
  isResolvedSo,
  type LatePolicy,
  type LateStep,
  lateStepOf,
  payLate,
  refundError,
  resolveRefund,
  settleLate,
} from "../domain/late.ts";
import { type Change, cancel, extend, type Order, settle } from "../domain/order.ts";

export type Intent =
  | {
      readonly kind: "settle";
      readonly paymentReference: string;
      readonly latePolicy: LatePolicy;
      /** Under which the stock is reserved again if the order has EXPIRED. */
      readonly lateReservationId: string;
    }
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "extend"; readonly ttlMs: number }
  | { readonly kind: "resolveRefund"; readonly resolution: string }
  /** What Inventory said of the attempt under this reservation: the cause of a refund, or nothing. */
  | { readonly kind: "endAttempt"; readonly reservationId: string; readonly refundCause: string | undefined };

/** What a call does to its order: a change, or a refusal, or both, or neither. */
export type Step = {
  readonly change?: Change | undefined;
  readonly refusal?: DomainError | undefined;
  /** Whether its request is to be remembered. */
  readonly hasEffect: boolean;
};

/** Judges what a call wants done to an order that has been expired if it was due; may throw the refusal. */
export function stepOf(order: Order, now: number, intent: Intent): Step {
  switch (intent.kind) {
    case "settle":
      return settleStepOf(order, now, intent);
    case "cancel":
      return stepBy(cancel(order, now, intent.reason));
    case "extend":
      return stepBy(extend(order, now, intent.ttlMs));
    case "resolveRefund":
      if (isResolvedSo(order, intent.resolution)) return { hasEffect: false };
      return stepBy(resolveRefund(order, now, intent.resolution));
    case "endAttempt":
      return endStepOf(order, now, intent);
    default:
      return unreachable(intent);
  }
}

/** What a call is answered whose request had its effect before: the order, or what its payment came to. */
export function stepOfRepeated(order: Order, intent: Intent): Step {
  const late = intent.kind === "settle" ? lateStepOf(order) : undefined;
  return late ? stepOfLate(order, late) : { hasEffect: false };
}

function settleStepOf(order: Order, now: number, intent: Extract<Intent, { kind: "settle" }>): Step {
  const { paymentReference: reference, latePolicy: policy, lateReservationId: reservationId } = intent;
  if (order.state !== "EXPIRED") return stepBy(settle(order, now, reference));
  return stepOfLate(order, payLate(order, now, { reference, policy, reservationId }));
}

function endStepOf(order: Order, now: number, intent: Extract<Intent, { kind: "endAttempt" }>): Step {
  const { reservationId, refundCause } = intent;
  if (order.lateAttempt?.reservationId !== reservationId) return endedStepOf(order);
  if (refundCause === undefined) return stepBy(settleLate(order, now));
  const change = failAttempt(order, now, refundCause, "api");
  return { change, refusal: refundError(change.order), hasEffect: true };
}

// Another call that worked at the attempt, or the recovery, was faster.
function endedStepOf(order: Order): Step {
  if (order.state === "SETTLED") return { hasEffect: false };
  return { refusal: refundError(order), hasEffect: false };
}

function stepOfLate(order: Order, { kind, change }: LateStep): Step {
  if (kind === "attempt") return { change, hasEffect: true };
  return { change, refusal: refundError(change?.order ?? order), hasEffect: change !== undefined };
}

function stepBy(change: Change): Step {
  return { change, hasEffect: true };
}
