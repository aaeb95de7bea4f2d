/**
 * What the tests of this service stand on: its database and one or more instances without their processes.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import type { Sql } from "#libs/db";
import type { OutboxMessage } from "#libs/events";
import type { Handlers } from "#libs/rpc";
import { testCall } from "#libs/testing";
import {
  AdjustStockRequestSchema,
  CreateItemRequestSchema,
  CreateReservationRequestSchema,
  type InventoryService,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  type OrderReservationService,
  ReserveOrdersRequestSchema,
} from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { createOrderReservationHandlers } from "../api/reservations.ts";
import { createInventoryHandlers } from "../api.ts";
import { type Changes, createChanges } from "../changes.ts";
import { createExpiry, type Expiry } from "../expiry.ts";
import { createStockMetrics } from "../metrics.ts";
import { createOutcomes, type Outcomes } from "../outcomes.ts";
import { createInventoryDatabase } from "./database.ts";

/** One instance of the service without its process. */
export type Instance = {
  readonly sql: Sql;
  readonly api: Handlers<(typeof InventoryService)["method"]>;
  readonly orders: Handlers<(typeof OrderReservationService)["method"]>;
  readonly changes: Changes;
  readonly expiry: Expiry;
  readonly outcomes: Outcomes;
  readonly registry: Registry;
  /** What was given to the relay. */
  readonly published: OutboxMessage[];
};

export type Scene = Instance & {
  readonly url: string;
  /** Another instance on the same database. */
  another(): Instance;
  drop(): Promise<void>;
};

/** Makes a database of its own with one instance on it. */
export async function createScene(): Promise<Scene> {
  const database = await createInventoryDatabase();

  function another(sql: Sql): Instance {
    const registry = new Registry();
    const published: OutboxMessage[] = [];
    const publish = (messages: readonly OutboxMessage[]) => published.push(...messages);
    const changes = createChanges({ sql, publish, metrics: createStockMetrics(registry) });
    return {
      sql,
      changes,
      registry,
      published,
      api: createInventoryHandlers({ sql, ledgerSql: sql, changes }),
      orders: createOrderReservationHandlers(changes),
      expiry: createExpiry({ sql, changes, log: testCall().log }),
      outcomes: createOutcomes({ sql, publish }),
    };
  }

  return {
    ...another(database.sql),
    url: database.url,
    another: () => another(database.connect()),
    drop: database.drop,
  };
}

/** Makes an item with stock at `main`. */
export async function stockItem({ api }: Instance, sku: string, onHand: number, reorderPoint = 0) {
  await api.createItem(create(CreateItemRequestSchema, { sku, reorderPoint }), testCall());
  if (onHand === 0) return;
  const changes = [{ sku, delta: onHand }];
  await api.adjustStock(create(AdjustStockRequestSchema, { changes, reason: "receipt" }), testCall());
}

/** A request of CreateReservation that is right as it is. */
export function reservationRequest(fields: MessageInitShape<typeof CreateReservationRequestSchema> = {}) {
  const lines = [{ sku: "tea", quantity: 1 }];
  return create(CreateReservationRequestSchema, { lines, owner: "till-1", ...fields });
}

/** A request of ReserveOrders for orders that each want some of an item. */
export function ordersRequest(orderIds: readonly string[], sku: string, quantity = 1) {
  const orders = orderIds.map((orderId) => ({ orderId, lines: [{ sku, quantity }] }));
  return create(ReserveOrdersRequestSchema, { orders });
}
