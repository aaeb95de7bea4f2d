/** The calls of OrderService: convert, decide, remember. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Sql, uuidv7 } from "#libs/db";
import { type Call, type Handlers, type RpcService, service } from "#libs/rpc";
import {
  CancelOrderRequestSchema,
  CreateOrderRequestSchema,
  ExtendOrderRequestSchema,
  OrderService,
  ResolveRefundRequestSchema,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import type { Changes } from "./api/changes.ts";
import type { Intent } from "./api/intents.ts";
import type { Placement } from "./api/placement.ts";
import { createReads } from "./api/reads.ts";
import type { Settlement } from "./api/settlement.ts";
import { draftOf, fromProtoLatePolicy, requestKeyOf, toProtoOrder } from "./convert.ts";
import { limits } from "./domain/limits.ts";
import { checkDraft } from "./domain/order.ts";
import type { RequestKey } from "./store/requests.ts";

type OrderHandlers = Handlers<(typeof OrderService)["method"]>;

export type OrderServiceParts = {
  readonly sql: Sql;
  readonly placement: Placement;
  readonly settlement: Settlement;
  readonly changes: Changes;
};

/** OrderService, ready to be served. */
export function createOrderService(parts: OrderServiceParts): RpcService {
  return service(OrderService, createOrderHandlers(parts));
}

/** The handlers of OrderService, one for each of its methods. */
export function createOrderHandlers({
  sql,
  placement,
  settlement,
  changes,
}: OrderServiceParts): OrderHandlers {
  async function change(call: Call, orderId: string, request: RequestKey | undefined, intent: Intent) {
    const { order, now } = await changes.change(
      call.caller.tenant,
      { orderId, request, intent, correlationId: call.requestId },
      () => call.isAbandoned(),
    );
    return { order: toProtoOrder(order, now) };
  }

  return {
    createOrder: async (request, call) => {
      const draft = draftOf(request, uuidv7());
      checkDraft(draft);
      const { order, now } = await placement.place({
        tenant: call.caller.tenant,
        draft,
        ttlMs: request.ttl ? durationMs(request.ttl) : limits.defaultTtlMs,
        request: requestKeyOf(CreateOrderRequestSchema, request, draft.orderId),
        correlationId: call.requestId,
        deadline: call.deadline,
        isAbandoned: () => call.isAbandoned(),
      });
      return { order: toProtoOrder(order, now) };
    },

    settleOrder: async (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const { order, now } = await settlement.settle({
        tenant: call.caller.tenant,
        orderId,
        paymentReference: request.paymentReference,
        latePolicy: fromProtoLatePolicy(request.latePolicy),
        request: requestKeyOf(SettleOrderRequestSchema, request, orderId),
        correlationId: call.requestId,
        deadline: call.deadline,
        isAbandoned: () => call.isAbandoned(),
      });
      return { order: toProtoOrder(order, now) };
    },

    cancelOrder: (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const key = requestKeyOf(CancelOrderRequestSchema, request, orderId);
      return change(call, orderId, key, { kind: "cancel", reason: request.reason });
    },

    extendOrder: (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const key = requestKeyOf(ExtendOrderRequestSchema, request, orderId);
      // The contract's rules have made sure that there is a ttl.
      const ttlMs = request.ttl ? durationMs(request.ttl) : limits.defaultTtlMs;
      return change(call, orderId, key, { kind: "extend", ttlMs });
    },

    resolveRefund: (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const { resolution } = request;
      const key = requestKeyOf(ResolveRefundRequestSchema, request, orderId);
      return change(call, orderId, key, { kind: "resolveRefund", resolution });
    },

    ...createReads(sql),
  };
}
