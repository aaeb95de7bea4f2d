/** Between the contract's messages and what domain/ knows. */
import { hash as digestOf } from "node:crypto";
import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { nudgeToOutbox, type OutboxMessage, toOutbox } from "#libs/events";
import { unreachable } from "#libs/reasons";
import {
  OrderAbandonedSchema,
  OrderCancelledSchema,
  OrderExpiredSchema,
  OrderExtendedSchema,
  OrderPlacedSchema,
  OrderRefundRequiredSchema,
  OrderRejectedSchema,
  OrderSettledSchema,
  OrdersFellDueSchema,
} from "#proto/holdfast/order/v1/events_pb.ts";
import {
  type CreateOrderRequest,
  Order_State,
  type OrderSchema,
  type OrderTransitionSchema,
  type RejectionSchema,
  SettleOrderRequest_LatePolicy,
} from "#proto/holdfast/order/v1/order_pb.ts";
import type { LatePolicy } from "./domain/late.ts";
import { DEFAULT_LOCATION } from "./domain/limits.ts";
import {
  type Draft,
  type Order,
  type OrderEvent,
  type Rejection,
  type State,
  stateAt,
  type Transition,
  totalAmountOf,
} from "./domain/order.ts";
import type { RequestKey } from "./store/requests.ts";

/** The queue of this service's nudges. */
export const NUDGES_QUEUE = "holdfast.order.nudges";

/** The contract's name of a state. */
export function toProtoState(state: State): Order_State {
  return Order_State[state];
}

/** The state that a filter names; undefined for all. */
export function fromProtoState(state: Order_State): State | undefined {
  switch (state) {
    case Order_State.RESERVING:
      return "RESERVING";
    case Order_State.PENDING:
      return "PENDING";
    case Order_State.SETTLED:
      return "SETTLED";
    case Order_State.CANCELLED:
      return "CANCELLED";
    case Order_State.EXPIRED:
      return "EXPIRED";
    case Order_State.REJECTED:
      return "REJECTED";
    default:
      return undefined;
  }
}

/** An order as it reads at `now`. */
export function toProtoOrder(order: Order, now: number): MessageInitShape<typeof OrderSchema> {
  return {
    orderId: order.orderId,
    state: toProtoState(stateAt(order, now)),
    customerId: order.customerId,
    lines: order.lines.map(({ sku, quantity, locationId, unitAmount }) => ({
      sku,
      quantity,
      locationId,
      unitAmount,
    })),
    currency: order.currency,
    totalAmount: totalAmountOf(order.lines),
    note: order.note,
    createTime: timestampFromMs(order.createTime),
    updateTime: timestampFromMs(order.updateTime),
    ...(order.expireTime !== undefined && { expireTime: timestampFromMs(order.expireTime) }),
    ...(order.endTime !== undefined && { endTime: timestampFromMs(order.endTime) }),
    paymentReference: order.paymentReference,
    cancelReason: order.cancelReason,
    ...(order.rejection && { rejection: toProtoRejection(order.rejection) }),
    late: order.late,
    refundRequired: order.refundRequired,
    refundResolution: order.refundResolution,
    ...(order.refundResolveTime !== undefined && {
      refundResolveTime: timestampFromMs(order.refundResolveTime),
    }),
  };
}

/** What the caller wants done with a payment that comes too late. */
export function fromProtoLatePolicy(policy: SettleOrderRequest_LatePolicy): LatePolicy {
  return policy === SettleOrderRequest_LatePolicy.REFUSE ? "REFUSE" : "REACQUIRE";
}

/** A row of an order's history. */
export function toProtoTransition(transition: Transition): MessageInitShape<typeof OrderTransitionSchema> {
  return {
    sequence: transition.sequence,
    fromState: transition.fromState ? toProtoState(transition.fromState) : Order_State.STATE_UNSPECIFIED,
    toState: toProtoState(transition.toState),
    createTime: timestampFromMs(transition.time),
    actor: transition.actor,
    reason: transition.reason,
  };
}

/** What a CreateOrder asks for, under the id of the caller or else the given one. */
export function draftOf(request: CreateOrderRequest, mintedId: string): Draft {
  return {
    orderId: request.orderId === "" ? mintedId : request.orderId.toLowerCase(),
    customerId: request.customerId,
    lines: request.lines.map(({ sku, quantity, locationId, unitAmount }) => ({
      sku,
      quantity,
      locationId: locationId === "" ? DEFAULT_LOCATION : locationId,
      unitAmount,
    })),
    currency: request.currency,
    note: request.note,
  };
}

/**
 * What a request_id stands for, if there is one: SHA-256 over the method's request type and all of the
 * request but that id, as it was sent: what is left out and its default are two. The same fields always give
 * the same bytes, because they are written in the order of their numbers.
 */
export function requestKeyOf<Desc extends DescMessage>(
  desc: Desc,
  request: MessageShape<Desc> & { readonly requestId: string },
  orderId: string,
): RequestKey | undefined {
  if (request.requestId === "") return undefined;
  const bare = toBinary(desc, { ...request, requestId: "" }, { writeUnknownFields: false });
  const hash = digestOf("sha256", Buffer.concat([Buffer.from(`${desc.typeName}\n`), bare]), "buffer");
  return { requestId: request.requestId.toLowerCase(), hash, orderId };
}

/** The outbox row of an event. Inventory must get the ends of orders; the rest is for whoever listens. */
export function toOutboxMessage(event: OrderEvent, tenant: string, correlationId?: string): OutboxMessage {
  const needed = { tenant, correlationId, mandatory: true };
  const told = { tenant, correlationId, mandatory: false };
  switch (event.type) {
    case "OrderPlaced": {
      const order = toProtoOrder(event.order, event.order.updateTime);
      return toOutbox(OrderPlacedSchema, create(OrderPlacedSchema, { order }), told);
    }
    case "OrderRejected": {
      const { orderId, rejection, time } = event;
      const fields = { orderId, rejection: toProtoRejection(rejection), rejectTime: timestampFromMs(time) };
      return toOutbox(OrderRejectedSchema, create(OrderRejectedSchema, fields), told);
    }
    case "OrderAbandoned": {
      const { orderId, reservationId = orderId, time } = event;
      const fields = { orderId, reservationId, abandonTime: timestampFromMs(time) };
      return toOutbox(OrderAbandonedSchema, create(OrderAbandonedSchema, fields), needed);
    }
    case "OrderSettled": {
      const { orderId, paymentReference, late, time } = event;
      const reservationId = late?.reservationId ?? orderId;
      const settleTime = timestampFromMs(time);
      const fields = { orderId, paymentReference, settleTime, reservationId, late: late !== undefined };
      return toOutbox(OrderSettledSchema, create(OrderSettledSchema, fields), needed);
    }
    case "OrderRefundRequired": {
      const { orderId, paymentReference, cause, time } = event;
      const fields = { orderId, paymentReference, cause, requireTime: timestampFromMs(time) };
      return toOutbox(OrderRefundRequiredSchema, create(OrderRefundRequiredSchema, fields), told);
    }
    case "OrderCancelled": {
      const { orderId, reason, time } = event;
      const fields = { orderId, reason, cancelTime: timestampFromMs(time) };
      return toOutbox(OrderCancelledSchema, create(OrderCancelledSchema, fields), needed);
    }
    case "OrderExpired": {
      const { orderId, expireTime, time } = event;
      const fields = {
        orderId,
        expireTime: timestampFromMs(expireTime),
        endTime: timestampFromMs(time),
      };
      return toOutbox(OrderExpiredSchema, create(OrderExpiredSchema, fields), needed);
    }
    case "OrderExtended": {
      const fields = { orderId: event.orderId, expireTime: timestampFromMs(event.expireTime) };
      return toOutbox(OrderExtendedSchema, create(OrderExtendedSchema, fields), told);
    }
    default:
      return unreachable(event);
  }
}

/** The outbox row of the nudge of one second. */
export function nudgeOf(tenant: string, dueTime: number): OutboxMessage {
  return nudgeToOutbox({
    schema: OrdersFellDueSchema,
    message: create(OrdersFellDueSchema, { dueTime: timestampFromMs(dueTime) }),
    tenant,
    dueTime: new Date(dueTime),
    destination: NUDGES_QUEUE,
  });
}

function toProtoRejection({ reason, shortages }: Rejection): MessageInitShape<typeof RejectionSchema> {
  return { reason, shortages: shortages.map((shortage) => ({ ...shortage })) };
}
