/** The calls of the contract that the load is made of, as stencils, and the ids and skus that fill them. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { uuidv7 } from "#libs/db";
import {
  CreateReservationRequestSchema,
  InventoryService,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  CreateOrderRequestSchema,
  OrderService,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import type { Work } from "./load.ts";
import { type Client, OK } from "./wire/client.ts";
import { grpcStencil } from "./wire/frames.ts";
import { jsonStencil } from "./wire/http1.ts";
import { type Stencil, textBlank, uuidBlank } from "./wire/stencil.ts";

const DAY_MS = 86_400_000;
/** All skus of a stencil are of one width. */
export const SKU_WIDTH = 9;
const UNIT_AMOUNT = 4_990n;

/** The sku of a scenario's item. */
export function skuOf(prefix: string, index: number): string {
  const sku = `${prefix}${String(index).padStart(SKU_WIDTH - prefix.length, "0")}`;
  if (sku.length !== SKU_WIDTH) throw new Error(`${sku} is too wide`);
  return sku;
}

/** So many skus of a scenario. */
export function skusOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => skuOf(prefix, index));
}

/** Where and how calls are sent. */
export type Target = { readonly client: Client; readonly authority: string };

/** Reserves one unit of each sku that `draw` gives: a till's own reservation, for a day. */
export function reserving(target: Target, lines: number, draw: () => readonly string[]): Work {
  const blanks = Array.from({ length: lines }, (_, index) => textBlank(index, SKU_WIDTH));
  const message = create(CreateReservationRequestSchema, {
    owner: "bench",
    lines: blanks.map((sku) => ({ sku, quantity: 1 })),
    expiry: { case: "ttl", value: durationFromMs(DAY_MS) },
  });
  const stencil = grpcStencil({
    authority: target.authority,
    path: pathOf(InventoryService.method.createReservation),
    message: toBinary(CreateReservationRequestSchema, message),
    blanks,
  });
  return (done) => target.client.send(stencil, draw(), done);
}

/** How long an order waits for its payment, and whether it is paid at once. */
export type OrderShape = { readonly ttlMs?: number; readonly settled: boolean };

/**
 * Places an order of one unit of the sku that `draw` gives, under an id and a request id of the caller's, and
 * settles it where `settled` says so: that pair is then one unit of work.
 */
export function ordering(
  target: Target,
  protocol: "grpc" | "json",
  draw: () => string,
  shape: OrderShape,
): Work {
  const stencils =
    protocol === "grpc" ? grpcOrder(target.authority, shape) : jsonOrder(target.authority, shape);
  const { client } = target;
  if (!shape.settled) return (done) => client.send(stencils.create, [uuidv7(), uuidv7(), draw()], done);
  return (done) => {
    const orderId = uuidv7();
    client.send(stencils.create, [orderId, uuidv7(), draw()], (outcome) => {
      if (outcome === OK) client.send(stencils.settle, [orderId, uuidv7()], done);
      else done(outcome);
    });
  };
}

type OrderStencils = { readonly create: Stencil; readonly settle: Stencil };

const orderId = uuidBlank(1);
const requestId = uuidBlank(2);
const sku = textBlank(0, SKU_WIDTH);

function messages({ ttlMs }: OrderShape) {
  const placed = create(CreateOrderRequestSchema, {
    customerId: "customer-4711",
    lines: [{ sku, quantity: 1, unitAmount: UNIT_AMOUNT }],
    currency: "EUR",
    orderId,
    requestId,
    ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
  });
  const settled = create(SettleOrderRequestSchema, { orderId, requestId, paymentReference: "payment-0815" });
  return { placed, settled };
}

function grpcOrder(authority: string, shape: OrderShape): OrderStencils {
  const { placed, settled } = messages(shape);
  return {
    create: grpcStencil({
      authority,
      path: pathOf(OrderService.method.createOrder),
      message: toBinary(CreateOrderRequestSchema, placed),
      blanks: [orderId, requestId, sku],
    }),
    settle: grpcStencil({
      authority,
      path: pathOf(OrderService.method.settleOrder),
      message: toBinary(SettleOrderRequestSchema, settled),
      blanks: [orderId, requestId],
    }),
  };
}

function jsonOrder(authority: string, shape: OrderShape): OrderStencils {
  const { placed, settled } = messages(shape);
  // The path has the id, and the header the request's, as the README tells callers.
  const order = { ...placed, requestId: "" };
  const headers = { "idempotency-key": requestId };
  return {
    create: jsonStencil({
      authority,
      path: "/v1/orders",
      body: toJsonString(CreateOrderRequestSchema, order),
      blanks: [orderId, requestId, sku],
      headers,
    }),
    settle: jsonStencil({
      authority,
      path: `/v1/orders/${orderId}:settle`,
      body: JSON.stringify({ paymentReference: settled.paymentReference }),
      blanks: [orderId, requestId],
      headers,
    }),
  };
}

function pathOf(method: { readonly name: string; readonly parent: { readonly typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}
