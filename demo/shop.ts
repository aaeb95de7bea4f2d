import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  type CreateOrderRequestSchema,
  type Order,
  OrderService,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { type CatalogueItem, readCatalogue } from "./catalogue.ts";
import { type Counters, createExpectation, type Expectation } from "./expectation.ts";
import { createJsonTransport } from "./json-transport.ts";
import type { Expect } from "./narrator.ts";
import { eventually, withPatience } from "./patience.ts";

export type Way = "gRPC" | "JSON";

/** The two services, called one way. */
export type Clients = {
  readonly orders: Client<typeof OrderService>;
  readonly inventory: Client<typeof InventoryService>;
};

/** The shop of the demo: what it sells, how it is called, and what its stock must be. */
export type Shop = {
  readonly catalogue: readonly CatalogueItem[];
  readonly over: Readonly<Record<Way, Clients>>;
  readonly expected: Expectation;
  /** A stack of the demo's own is quiet; in another one parts may be stopped and started meanwhile. */
  readonly isOwnStack: boolean;
  /** How long an effect that travels by an event may take. */
  readonly settlingMs: number;
  /** Calls that had to be repeated, and orders that were given up because a part was gone for long. */
  readonly troubles: { retries: number; abandoned: number };
  /** The item of a sku in the catalogue. */
  item(sku: string): CatalogueItem;
};

const CALL_TIMEOUT_MS = 10_000;
/** A quiet stack may be overloaded for a moment; in another one a part takes this long to come back. */
const PATIENCE_MS = { own: 10_000, given: 90_000 };
const SETTLING_MS = { own: 10_000, given: 90_000 };

/** Opens the shop at a gateway; where others may be at work too, its skus are its own. */
export function openShop(gatewayUrl: string, isOwnStack: boolean): Shop {
  const troubles = { retries: 0, abandoned: 0 };
  const kind = isOwnStack ? "own" : "given";
  const patient = (transport: Transport) =>
    withPatience(transport, { patienceMs: PATIENCE_MS[kind], onRetry: () => (troubles.retries += 1) });
  const clientsOver = (transport: Transport): Clients => ({
    orders: createClient(OrderService, patient(transport)),
    inventory: createClient(InventoryService, patient(transport)),
  });
  const run = isOwnStack ? "" : `.${randomUUID().slice(0, 8)}`;
  const catalogue = readCatalogue().map((item) => ({ ...item, sku: `${item.sku}${run}` }));
  const bySku = new Map(catalogue.map((item) => [item.sku, item]));
  return {
    catalogue,
    over: {
      gRPC: clientsOver(createGrpcTransport({ baseUrl: gatewayUrl, defaultTimeoutMs: CALL_TIMEOUT_MS })),
      JSON: clientsOver(createJsonTransport({ baseUrl: gatewayUrl, timeoutMs: CALL_TIMEOUT_MS })),
    },
    expected: createExpectation(),
    isOwnStack,
    settlingMs: SETTLING_MS[kind],
    troubles,
    item(sku) {
      const found = bySku.get(`${sku}${run}`);
      if (!found) throw new Error(`the catalogue has no ${sku}`);
      return found;
    },
  };
}

export type OrderDraft = MessageInitShape<typeof CreateOrderRequestSchema>;

/** What became of an order: the order and the request that it came of, or the reason why there is none. */
export type Placed =
  | { readonly order: Order; readonly request: OrderDraft; readonly reason?: never }
  | { readonly order?: never; readonly request?: never; readonly reason: string };

/** How often an order is placed anew; whoever is given up that often meets a system that is away. */
const PLACINGS_MAX = 5;

/**
 * Places an order; one that was given up, because a part was gone for long, is placed anew under another
 * request_id, as the contract says.
 */
export async function place(shop: Shop, way: Way, draft: OrderDraft): Promise<Placed> {
  for (let placing = 1; ; placing += 1) {
    const request = { ...draft, requestId: randomUUID() };
    try {
      const { order } = await shop.over[way].orders.createOrder(request);
      if (!order) throw new Error("the answer has no order");
      return { order, request };
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== "ORDER_REJECTED" || shop.isOwnStack || placing === PLACINGS_MAX) return { reason };
      shop.troubles.abandoned += 1;
    }
  }
}

/** The reason that an error carries; another error is thrown on. */
export function reasonOf(error: unknown): string {
  const [info] = error instanceof ConnectError ? error.findDetails(ErrorInfoSchema) : [];
  if (!info) throw error;
  return info.reason;
}

/** The counters of all items, as the system has them now. */
export async function readStock(shop: Shop): Promise<Map<string, Counters>> {
  const skus = shop.catalogue.map(({ sku }) => sku);
  const { stock } = await shop.over.gRPC.inventory.listStock({ skus, pageSize: 500 });
  return new Map(
    stock.map(({ sku, onHand, reserved, available, levels }) => {
      const movements = levels.reduce((total, { version }) => total + Number(version), 0);
      return [sku, { onHand, reserved, available, movements }];
    }),
  );
}

/**
 * Waits until the counters of some items are as expected, or the time for that is over, and returns them
 * all.
 */
async function settledStock(shop: Shop, skus: readonly string[]): Promise<Map<string, Counters>> {
  const isAsExpected = (stock: Map<string, Counters>) =>
    skus.every((sku) => {
      const [actual, expected] = [stock.get(sku), shop.expected.of(sku)];
      return actual?.onHand === expected.onHand && actual.reserved === expected.reserved;
    });
  return await eventually(() => readStock(shop), isAsExpected, shop.settlingMs);
}

/**
 * Waits for the counters of these items to be as expected, compares each, and returns what all items have.
 * Of other items nothing is said: an order of theirs may be expiring meanwhile.
 */
export async function expectStock(
  shop: Shop,
  expect: Expect,
  lines: readonly { readonly sku: string }[],
): Promise<Map<string, Counters>> {
  const skus = lines.map(({ sku }) => sku);
  const stock = await settledStock(shop, skus);
  for (const sku of skus) {
    const expected = shop.expected.of(sku);
    const actual = stock.get(sku);
    expect(`${sku} on hand`, actual?.onHand, expected.onHand);
    expect(`${sku} reserved`, actual?.reserved, expected.reserved);
    expect(`${sku} available`, actual?.available, expected.available);
  }
  return stock;
}
