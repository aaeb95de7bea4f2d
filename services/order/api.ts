/** The calls of OrderService: convert, decide, remember. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Sql, uuidv7 } from "#libs/db";
import { type Call, type Handlers, type RpcService, service } from "#libs/rpc";
import {
  CancelOrderRequestSchema,
  CreateOrderRequestSchema,
  ExtendOrderRequestSchema,
  OrderService,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { type Changes, type Intent } from "./api/changes.ts";
import type { Placement } from "./api/placement.ts";
import { createReads } from "./api/reads.ts";
import { draftOf, requestKeyOf, toProtoOrder } from "./convert.ts";
import { limits } from "./domain/limits.ts";
import { checkDraft } from "./domain/order.ts";
import type { RequestKey } from "./store/requests.ts";

type OrderHandlers = Handlers<(typeof OrderService)["method"]>;

export type OrderServiceParts = {
  readonly sql: Sql;
  readonly placement: Placement;
  readonly changes: Changes;
};

/** OrderService, ready to be served. */
export function createOrderService(parts: OrderServiceParts): RpcService {
  return service(OrderService, createOrderHandlers(parts));
}

/** The handlers of OrderService, one for each of its methods. */
export function createOrderHandlers({ sql, placement, changes }: OrderServiceParts): OrderHandlers {
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
        isAbandoned: () => call.isAbandoned(),
      });
      return { order: toProtoOrder(order, now) };
    },

    settleOrder: (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const { paymentReference } = request;
      const key = requestKeyOf(SettleOrderRequestSchema, request, orderId);
      return change(call, orderId, key, { kind: "settle", paymentReference });
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

    ...createReads(sql),
  };
}
