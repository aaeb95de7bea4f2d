/** The calls of OrderService: convert, decide, remember. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Sql, uuidv7 } from "#libs/db";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  type Handlers,
  pageSizeOf,
  type RpcService,
  service,
} from "#libs/rpc";
import {
  CancelOrderRequestSchema,
  CreateOrderRequestSchema,
  ExtendOrderRequestSchema,
  OrderService,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { type Changes, type Intent, orderNotFound } from "./api/changes.ts";
import type { Placement } from "./api/placement.ts";
import { draftOf, fromProtoState, requestKeyOf, toProtoOrder, toProtoTransition } from "./convert.ts";
import { limits } from "./domain/limits.ts";
import { checkDraft } from "./domain/order.ts";
import { listHistory, listOrders } from "./store/lists.ts";
import { readOrders } from "./store/orders.ts";
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

    getOrder: async (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const { now, orders } = await readOrders(sql, call.caller.tenant, [orderId]);
      const order = orders.get(orderId);
      if (!order) throw orderNotFound(orderId);
      return { order: toProtoOrder(order, now) };
    },

    listOrders: async (request, call) => {
      const { state, customerId } = request;
      const filter = ["orders", call.caller.tenant, state, customerId];
      const [createTime = "", orderId = ""] = decodePageToken(request.pageToken, filter, 2) ?? [];
      const limit = pageSizeOf(request.pageSize);
      const { now, orders } = await listOrders(sql, call.caller.tenant, {
        state: fromProtoState(state),
        customerId,
        after: orderId === "" ? undefined : { createTime: Number(createTime), orderId },
        // One more than asked for tells whether there is another page.
        limit: limit + 1,
      });
      const found = [...orders.values()];
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        orders: page.map((order) => toProtoOrder(order, now)),
        nextPageToken: last ? encodePageToken(filter, [String(last.createTime), last.orderId]) : "",
      };
    },

    listOrderHistory: async (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const filter = ["history", call.caller.tenant, orderId];
      const [after = "0"] = decodePageToken(request.pageToken, filter, 1) ?? [];
      const limit = pageSizeOf(request.pageSize);
      const found = await listHistory(sql, call.caller.tenant, orderId, Number(after), limit + 1);
      // Every order has a first row.
      if (found.length === 0 && after === "0") throw orderNotFound(orderId);
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        history: page.map(toProtoTransition),
        nextPageToken: last ? encodePageToken(filter, [String(last.sequence)]) : "",
      };
    },
  };
}
