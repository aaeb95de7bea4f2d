import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { connect, type Sql } from "#libs/db";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import type { Addresses } from "../ops/addresses.ts";
import { makeThrowAwayFolder } from "../stack/folder.ts";
import { type Stack, startStack } from "../stack/stack.ts";
import { moveToSmallDisk, type SmallDisk } from "./small-disk.ts";
import { createWiring, type Wiring, type WiringOptions } from "./wiring.ts";

export type Clients = {
  readonly orders: Client<typeof OrderService>;
  readonly inventory: Client<typeof InventoryService>;
};

/** A whole system with proxies between its parts, and ways to call it and to look inside. */
export type System = Clients & {
  readonly stack: Stack;
  readonly wiring: Wiring;
  readonly folder: string;
  /** Where Postgres' data is, if the system was to have one. */
  readonly smallDisk: SmallDisk | undefined;
  readonly addresses: Addresses;
  /** The databases, read past the proxies. */
  readonly orderDatabase: Sql;
  readonly inventoryDatabase: Sql;
  /** All that a process has logged so far. */
  logOf(process: string): string;
  stop(): Promise<void>;
};

export type SystemOptions = WiringOptions & {
  /** Variables of the services that a person may set. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether Postgres has its data on a small file system of its own. */
  readonly hasSmallDisk?: boolean;
  readonly log?: (line: string) => void;
};

/** Two of each service, so that one can fail and another go on. */
export const INSTANCES = ["order-1", "order-2", "inventory-1", "inventory-2"] as const;
const INSTANCES_EACH = 2;
/** Longer than a service takes to refuse, so that its own answers show. */
const CALL_TIMEOUT_MS = 6_000;

/**
 * Starts a throw-away system on free ports, two instances of each service, with a proxy on every way between
 * parts.
 */
export async function startFaultSystem(options: SystemOptions = {}): Promise<System> {
  const folder = makeThrowAwayFolder("faults");
  const wiring = createWiring(options);
  const stack = await startStack({
    folder,
    ports: "free",
    order: INSTANCES_EACH,
    inventory: INSTANCES_EACH,
    throwAway: true,
    env: options.env ?? {},
    rewire: wiring.rewire,
    ...(options.log && { log: options.log }),
  });
  const smallDisk = options.hasSmallDisk ? await moveToSmallDisk(stack, folder) : undefined;
  const addressOf = (name: string) => stack.env[name] ?? "";
  const orderDatabaseUrl = addressOf("ORDER_DATABASE_URL");
  const inventoryDatabaseUrl = addressOf("INVENTORY_DATABASE_URL");
  const orderDatabase = connect({ url: orderDatabaseUrl, name: "faults", max: 2 });
  const inventoryDatabase = connect({ url: inventoryDatabaseUrl, name: "faults", max: 2 });
  let stopping: Promise<void> | undefined;
  const stopAll = async () => {
    await Promise.all([orderDatabase.end({ timeout: 1 }), inventoryDatabase.end({ timeout: 1 })]);
    try {
      await stack.stop();
    } finally {
      smallDisk?.remove();
      await wiring.stop();
    }
  };
  return {
    ...clientsOf(stack.gatewayUrl),
    stack,
    wiring,
    folder,
    smallDisk,
    addresses: { orderDatabaseUrl, inventoryDatabaseUrl, amqpUrl: addressOf("AMQP_URL") },
    orderDatabase,
    inventoryDatabase,
    logOf: (process) => readFileSync(join(folder, "log", `${process}.log`), "utf8"),
    stop: () => {
      stopping ??= stopAll();
      return stopping;
    },
  };
}

/** Callers of both services at a gateway. */
export function clientsOf(baseUrl: string): Clients {
  const transport = createConnectTransport({ baseUrl, httpVersion: "2", defaultTimeoutMs: CALL_TIMEOUT_MS });
  return {
    orders: createClient(OrderService, transport),
    inventory: createClient(InventoryService, transport),
  };
}

/** Makes items of their own with so many units each, and returns their skus. */
export async function receiveItems({ inventory }: Clients, count: number, units: number): Promise<string[]> {
  const run = randomUUID().slice(0, 8);
  const skus = Array.from({ length: count }, (_, index) => `item-${run}-${index + 1}`);
  for (const sku of skus) {
    await inventory.createItem({ sku, displayName: sku, requestId: randomUUID() });
    const changes = [{ sku, delta: units }];
    await inventory.adjustStock({ changes, reason: "received", requestId: randomUUID() });
  }
  return skus;
}
