/** What is told again to who has missed it. */
import { unreachable } from "#libs/reasons";
import type { Order, OrderEvent } from "./order.ts";

/** A reservation that is live still, and whose it is. */
export type Awaited = { readonly orderId: string; readonly reservationId: string };

/**
 * The event that ends a reservation, if its order has come to an end for it; undefined while the order may
 * need it. One that does not exist is given up once it is late: nobody else would ever give its stock back.
 */
export function outcomeFor(
  { orderId, reservationId }: Awaited,
  order: Order | undefined,
  { now, late }: { readonly now: number; readonly late: boolean },
): OrderEvent | undefined {
  if (!order) return late ? { type: "OrderAbandoned", orderId, reservationId, time: now } : undefined;
  if (reservationId !== orderId) return outcomeForLate(order, reservationId, now);
  const time = order.endTime ?? now;
  switch (order.state) {
    case "RESERVING":
    case "PENDING":
      return undefined;
    case "SETTLED":
      // What was paid late had expired first, about when it fell due.
      return order.late ? expiry(order, order.expireTime ?? time) : settlement(order, time);
    case "CANCELLED":
      return { type: "OrderCancelled", orderId, reason: order.cancelReason, time };
    case "EXPIRED":
      return expiry(order, time);
    case "REJECTED":
      return { type: "OrderAbandoned", orderId, time };
    default:
      return unreachable(order.state);
  }
}

function outcomeForLate(order: Order, reservationId: string, now: number): OrderEvent | undefined {
  if (order.lateAttempt?.reservationId === reservationId) return undefined;
  if (order.late && order.lateReservationId === reservationId) {
    return { ...settlement(order, order.endTime ?? now), late: { reservationId } };
  }
  return { type: "OrderAbandoned", orderId: order.orderId, reservationId, time: now };
}

function settlement({ orderId, paymentReference }: Order, time: number) {
  return { type: "OrderSettled", orderId, paymentReference, time } as const;
}

function expiry({ orderId, expireTime }: Order, time: number): OrderEvent {
  return { type: "OrderExpired", orderId, expireTime: expireTime ?? time, time };
}
