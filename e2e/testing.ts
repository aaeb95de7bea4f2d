/**
 * What the tests of the whole system share: a stack of their own, callers of it, and ways to see what it
 * did.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { connect, type Sql } from "#libs/db";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
} from "#proto/google/rpc/error_details_pb.ts";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  type Order,
  type Order_State,
  Order_StateSchema,
  OrderService,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { createJsonTransport } from "../demo/json-transport.ts";
import { makeThrowAwayFolder } from "../stack/folder.ts";
import { type Stack, startStack } from "../stack/stack.ts";

export type Protocol = "gRPC" | "gRPC-Web" | "Connect" | "JSON";
export const PROTOCOLS: readonly Protocol[] = ["gRPC", "gRPC-Web", "Connect", "JSON"];

/** The two services, called over one protocol. */
export type Clients = {
  readonly transport: Transport;
  readonly orders: Client<typeof OrderService>;
  readonly inventory: Client<typeof InventoryService>;
};

/** A whole system of a test's own, and ways to call it and to look inside. */
export type TestSystem = {
  readonly stack: Stack;
  /** Where the data of all its processes lie. */
  readonly folder: string;
  readonly url: string;
  readonly over: Readonly<Record<Protocol, Clients>>;
  /** Over gRPC, where a test does not care. */
  readonly orders: Client<typeof OrderService>;
  readonly inventory: Client<typeof InventoryService>;
  readonly orderDatabase: Sql;
  readonly inventoryDatabase: Sql;
  /** All that a process has logged so far. */
  logOf(process: string): string;
  stop(): Promise<void>;
};

/** Overload makes calls wait: longer than the services' own limits, so that theirs show. */
const CALL_TIMEOUT_MS = 25_000;
const WAIT_TIMEOUT_MS = 20_000;
const POLL_MS = 40;

/** Starts a throw-away system on free ports. */
export async function startTestSystem(
  options: { order?: number; inventory?: number; env?: Record<string, string> } = {},
): Promise<TestSystem> {
  const folder = makeThrowAwayFolder("e2e");
  const { order = 1, inventory = 1, env = {} } = options;
  const stack = await startStack({ folder, ports: "free", order, inventory, throwAway: true, env });
  const url = stack.gatewayUrl;
  const over = {
    gRPC: clientsOver(createGrpcTransport({ baseUrl: url, defaultTimeoutMs: CALL_TIMEOUT_MS })),
    "gRPC-Web": clientsOver(
      createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1", defaultTimeoutMs: CALL_TIMEOUT_MS }),
    ),
    Connect: clientsOver(
      createConnectTransport({ baseUrl: url, httpVersion: "2", defaultTimeoutMs: CALL_TIMEOUT_MS }),
    ),
    JSON: clientsOver(createJsonTransport({ baseUrl: url, timeoutMs: CALL_TIMEOUT_MS })),
  };
  const openDatabase = (name: "ORDER_DATABASE_URL" | "INVENTORY_DATABASE_URL") =>
    connect({ url: stack.env[name] ?? "", name: "test", max: 4 });
  const orderDatabase = openDatabase("ORDER_DATABASE_URL");
  const inventoryDatabase = openDatabase("INVENTORY_DATABASE_URL");
  return {
    stack,
    folder,
    url,
    over,
    orders: over.gRPC.orders,
    inventory: over.gRPC.inventory,
    orderDatabase,
    inventoryDatabase,
    logOf: (process) => readFileSync(join(folder, "log", `${process}.log`), "utf8"),
    async stop() {
      await Promise.all([orderDatabase.end({ timeout: 1 }), inventoryDatabase.end({ timeout: 1 })]);
      await stack.stop(true);
    },
  };
}

function clientsOver(transport: Transport): Clients {
  return {
    transport,
    orders: createClient(OrderService, transport),
    inventory: createClient(InventoryService, transport),
  };
}

/** Waits until an answer is as it must be, and returns it; fails with the fact and the last answer. */
export async function until<T>(
  fact: string,
  ask: () => Promise<T> | T,
  isSo: (answer: T) => boolean,
  timeoutMs = WAIT_TIMEOUT_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (isSo(answer)) return answer;
    if (performance.now() > deadline) {
      const text = JSON.stringify(answer, (_, value: unknown) =>
        typeof value === "bigint" ? Number(value) : value,
      );
      assert.fail(`not within ${timeoutMs} ms: ${fact}; it is ${text?.slice(0, 1_000)}`);
    }
    await pause(POLL_MS);
  }
}

/** Runs work at a moment of the clock (milliseconds since 1970), or at once if it has passed. */
export async function atTime<T>(timeMs: number, work: () => Promise<T>): Promise<T> {
  await pause(Math.max(0, timeMs - Date.now()));
  return await work();
}

/** Runs a job for each entry, so many at once, and returns the results in the order of the entries. */
export async function mapAtOnce<T, R>(
  entries: readonly T[],
  atOnce: number,
  job: (entry: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < entries.length; index = next++) {
      const entry = entries[index];
      if (entry !== undefined) results[index] = await job(entry, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, entries.length) }, lane));
  return results;
}

/** What a caller learns of a failure. */
export type Failure = {
  readonly code: string;
  readonly message: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields of the request that are to blame. */
  readonly fields: readonly string[];
  /** What was short, as `subject: description`. */
  readonly shortages: readonly string[];
};

/** The failure that a call ends with; a call that succeeds fails the test. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  const error = await call.then(
    (answer) => assert.fail(`it succeeded: ${JSON.stringify(answer, (_, value: unknown) => String(value))}`),
    (thrown: unknown) => thrown,
  );
  return readFailure(error);
}

/** Reads the failure out of an error that a client threw. */
export function readFailure(error: unknown): Failure {
  if (!(error instanceof ConnectError)) throw error;
  const [info] = error.findDetails(ErrorInfoSchema);
  return {
    code: Code[error.code],
    message: error.rawMessage,
    reason: info?.domain === "holdfast" ? info.reason : "",
    metadata: info?.metadata ?? {},
    fields: error
      .findDetails(BadRequestSchema)
      .flatMap((bad) => bad.fieldViolations.map(({ field }) => field)),
    shortages: error
      .findDetails(PreconditionFailureSchema)
      .flatMap(({ violations }) => violations.map((one) => `${one.subject}: ${one.description}`)),
  };
}

/** An item of its own with so many units on hand; returns its sku. */
export async function receive(system: TestSystem, units: number, name = "item"): Promise<string> {
  const sku = `${name}-${randomUUID().slice(0, 8)}`;
  await system.inventory.createItem({ sku, displayName: name });
  if (units > 0) await system.inventory.adjustStock({ changes: [{ sku, delta: units }] });
  return sku;
}

/** Places an order that must succeed. */
export async function placeOrder(
  { orders }: Pick<Clients, "orders">,
  sku: string,
  quantity: number,
  ttlSeconds?: number,
): Promise<Order> {
  const ttl = ttlSeconds === undefined ? {} : { ttl: { seconds: BigInt(ttlSeconds) } };
  const { order } = await orders.createOrder({ customerId: "ann", lines: [{ sku, quantity }], ...ttl });
  assert(order);
  assert.equal(stateOf(order), "PENDING");
  return order;
}

/** The name of an order's state. */
export function stateOf(order: { state: Order_State } | undefined): string {
  return nameOf(order?.state);
}

/** The name of a state. */
export function nameOf(state: Order_State | undefined): string {
  return (state === undefined ? undefined : Order_StateSchema.value[state]?.name) ?? "none";
}

/** The transitions of an order, as `FROM > TO by actor`. */
export async function historyOf(system: TestSystem, orderId: string): Promise<string[]> {
  const { history } = await system.orders.listOrderHistory({ orderId });
  return history.map((row) => `${nameOf(row.fromState)} > ${nameOf(row.toState)} by ${row.actor}`);
}

export type Counters = { onHand: number; reserved: number };

/** The counters of an item. */
export async function countersOf(system: TestSystem, sku: string): Promise<Counters> {
  const { stock } = await system.inventory.getStock({ sku });
  assert(stock);
  return { onHand: stock.onHand, reserved: stock.reserved };
}

/** Waits until the counters of an item are as they must be: what an event brings about takes a moment. */
export async function untilCounters(system: TestSystem, sku: string, expected: Counters): Promise<void> {
  const { onHand, reserved } = expected;
  await until(
    `${sku} has ${onHand} on hand and ${reserved} reserved`,
    () => countersOf(system, sku),
    (counters) => counters.onHand === onHand && counters.reserved === reserved,
  );
}

/** Fails unless counters, ledger and live reservations agree, for these items or all. */
export async function assertConsistent(system: TestSystem, skus: readonly string[] = []): Promise<void> {
  const { consistent, differences } = await system.inventory.verifyStock({ skus: [...skus] });
  assert.deepEqual(differences, []);
  assert.equal(consistent, true);
}

/** How many messages wait in the outbox of a service's database. */
export async function outboxRows(database: Sql): Promise<number> {
  const [row] = await database<{ rows: number }[]>`select count(*)::int as rows from outbox`;
  return row?.rows ?? 0;
}
