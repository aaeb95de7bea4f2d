/** The calls that change nothing. */
import type { Sql } from "#libs/db";
import { decodePageToken, encodePageToken, type Handlers, pageOf, pageSizeOf } from "#libs/rpc";
import type { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { fromProtoState, toProtoOrder, toProtoTransition } from "../convert.ts";
import { listHistory, listOrders } from "../store/lists.ts";
import { readOrders } from "../store/orders.ts";
import { orderNotFound } from "./changes.ts";

type Reads = Pick<Handlers<(typeof OrderService)["method"]>, "getOrder" | "listOrders" | "listOrderHistory">;

/** The handlers of GetOrder, ListOrders and ListOrderHistory. */
export function createReads(sql: Sql): Reads {
  return {
    getOrder: async (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const { now, orders } = await readOrders(sql, call.caller.tenant, [orderId]);
      const order = orders.get(orderId);
      if (!order) throw orderNotFound(orderId);
      return { order: toProtoOrder(order, now) };
    },

    listOrders: async (request, call) => {
      const { state, customerId, refundRequired } = request;
      const filter: unknown[] = ["orders", call.caller.tenant, state, customerId];
      if (refundRequired !== undefined) filter.push(String(refundRequired));
      const [createTime = "", orderId = ""] =
        decodePageToken(request.pageToken, filter, ["time", "uuid"]) ?? [];
      const { now, orders, next } = await listOrders(sql, call.caller.tenant, {
        state: fromProtoState(state),
        customerId,
        refundRequired,
        after: orderId === "" ? undefined : { createTime: Number(createTime), orderId },
        limit: pageSizeOf(request.pageSize),
      });
      return {
        orders: [...orders.values()].map((order) => toProtoOrder(order, now)),
        nextPageToken: next ? encodePageToken(filter, [String(next.createTime), next.orderId]) : "",
      };
    },

    listOrderHistory: async (request, call) => {
      const orderId = request.orderId.toLowerCase();
      const filter = ["history", call.caller.tenant, orderId];
      const [after = "0"] = decodePageToken(request.pageToken, filter, ["number"]) ?? [];
      const limit = pageSizeOf(request.pageSize);
      const found = await listHistory(sql, call.caller.tenant, orderId, Number(after), limit + 1);
      // Every order has a first row.
      if (found.length === 0 && after === "0") throw orderNotFound(orderId);
      const { page, last } = pageOf(found, limit);
      return {
        history: page.map(toProtoTransition),
        nextPageToken: last ? encodePageToken(filter, [String(last.sequence)]) : "",
      };
    },
  };
}
