/**
 * What the tests of this service stand on: its database, its parts, and an Inventory that does what it is
 * told.
 */
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import type { Sql } from "#libs/db";
import type { OutboxMessage } from "#libs/events";
import { createTestDatabase } from "#libs/testing";
import { CreateOrderRequestSchema } from "#proto/holdfast/order/v1/order_pb.ts";
import { createAnnouncer } from "../announcer.ts";
import { type Changes, createChanges } from "../api/changes.ts";
import { createPlacement, type Placement } from "../api/placement.ts";
import { createReserving } from "../api/reserving.ts";
import { createSettlement } from "../api/settlement.ts";
import { createOrderHandlers } from "../api.ts";
import type { Reserved } from "../domain/reservation.ts";
import { createExpiry, type Expiry } from "../expiry.ts";
import type { OrderToReserve, ReserveOrders } from "../inventory.ts";
import { createOrderMetrics } from "../metrics.ts";
import { connectStore } from "../store/connect.ts";

/** An Inventory of the tests: it has everything, unless `answer` is given for an order. */
export type FakeInventory = {
  /** The orders of each call, in the order of the calls. */
  readonly calls: OrderToReserve[][];
  answer: (order: OrderToReserve) => Reserved | Promise<Reserved>;
  readonly reserveOrders: ReserveOrders;
};

/** Makes an Inventory that has everything. */
export function createFakeInventory(): FakeInventory {
  const calls: OrderToReserve[][] = [];
  const fake: FakeInventory = {
    calls,
    answer: () => ({ state: "RESERVED" }),
    reserveOrders: async (_tenant, orders) => {
      calls.push([...orders]);
      return await Promise.all(orders.map(async (order) => await fake.answer(order)));
    },
  };
  return fake;
}

/** One instance of the service without its process. */
export type Instance = {
  readonly sql: Sql;
  readonly api: ReturnType<typeof createOrderHandlers>;
  readonly placement: Placement;
  readonly changes: Changes;
  readonly expiry: Expiry;
  readonly registry: Registry;
  /** What was given to the relay. */
  readonly published: OutboxMessage[];
};

export type Scene = Instance & {
  readonly url: string;
  readonly inventory: FakeInventory;
  /** Another instance on the same database and Inventory. */
  another(): Instance;
  drop(): Promise<void>;
};

/** Makes a database of its own with one instance on it. */
export async function createScene(): Promise<Scene> {
  const database = await createTestDatabase(join(import.meta.dirname, "../migrations"));
  const inventory = createFakeInventory();
  const pools: Sql[] = [];

  function another(): Instance {
    const sql = connectStore(database.url, "test-order");
    pools.push(sql);
    const registry = new Registry();
    const metrics = createOrderMetrics(registry);
    const published: OutboxMessage[] = [];
    const announcer = createAnnouncer((messages) => published.push(...messages));
    const parts = { sql, announcer, metrics };
    const reserving = createReserving((...call) => inventory.reserveOrders(...call), metrics);
    const placement = createPlacement({ ...parts, reserving });
    const changes = createChanges(parts);
    const settlement = createSettlement({ changes, reserving });
    const expiry = createExpiry(parts);
    const api = createOrderHandlers({ sql, placement, settlement, changes });
    return { sql, api, placement, changes, expiry, registry, published };
  }

  return {
    ...another(),
    url: database.url,
    inventory,
    another,
    drop: async () => {
      await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
      await database.drop();
    },
  };
}

/** A request of CreateOrder that is right as it is. */
export function createRequest(fields: MessageInitShape<typeof CreateOrderRequestSchema> = {}) {
  return create(CreateOrderRequestSchema, {
    customerId: "customer-1",
    lines: [{ sku: "tea", quantity: 2, unitAmount: 450n }],
    currency: "EUR",
    ...fields,
  });
}
