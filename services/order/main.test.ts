/**
 * The process as it runs in production, beside a real Postgres and RabbitMQ and an Inventory that has
 * everything.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { createRpcClient, type RpcServer, service, startRpcServer } from "#libs/rpc";
import { createTestBroker, createTestDatabase, type TestBroker, type TestDatabase } from "#libs/testing";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { Order_State, OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { eventually, historyOf } from "./testing/facts.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const START_LIMIT_MS = 15_000;

let database: TestDatabase;
let broker: TestBroker;
let inventory: RpcServer;
before(async () => {
  [database, broker] = await Promise.all([
    createTestDatabase(join(import.meta.dirname, "migrations")),
    createTestBroker(),
  ]);
  const hasEverything = service(OrderReservationService, {
    reserveOrders: async ({ orders }) => ({
      results: orders.map(() => ({ state: Reservation_State.ACTIVE })),
    }),
  });
  inventory = await startRpcServer({
    address: "127.0.0.1:0",
    services: [hasEverything],
    reflected: [],
    log: pino({ level: "silent" }),
  });
});
after(async () => {
  await inventory.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  await Promise.all([database.drop(), broker.drop()]);
});

function environment(changes: Record<string, string>): Record<string, string> {
  return {
    INSTANCE: "order-test",
    RPC_ADDRESS: "127.0.0.1:0",
    OPS_ADDRESS: "127.0.0.1:0",
    DATABASE_URL: database.url,
    AMQP_URL: broker.url,
    INVENTORY_URL: `http://${inventory.address}`,
    ...changes,
  };
}

type Running = { readonly process: ChildProcess; readonly rpc: string; readonly ops: string };

async function start(changes: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [MAIN], {
    env: environment(changes),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const signal = AbortSignal.timeout(START_LIMIT_MS);
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<Running>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("the process did not become ready")));
    lines.on("line", (line) => {
      const { msg, rpc, ops, err } = JSON.parse(line);
      if (msg === "the service is ready") resolve({ process: child, rpc, ops });
      if (msg === "the service could not be started") reject(new Error(err.message));
    });
  });
  try {
    return await ready;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

async function stop({ process: child }: Running): Promise<number | null> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
  return child.exitCode;
}

function clientOf({ rpc }: Running) {
  return createRpcClient({ urls: [`http://${rpc}`], service: OrderService, timeoutMs: 5_000 });
}

async function placeOrders(running: Running, count: number, ttlMs: number): Promise<string[]> {
  const client = clientOf(running);
  const request = { customerId: "ann", lines: [{ sku: "tea", quantity: 1 }], ttl: durationFromMs(ttlMs) };
  const answers = await Promise.all(Array.from({ length: count }, () => client.createOrder(request)));
  return answers.map(({ order }) => order?.orderId ?? "");
}

async function expiryOf(orderId: string): Promise<string | undefined> {
  return (await historyOf(database.sql, orderId)).at(-1);
}

async function outboxIsEmptyOf(type: string): Promise<boolean> {
  const rows = await database.sql`select 1 from outbox where type = ${`holdfast.order.v1.${type}`}`;
  return rows.length === 0;
}

describe("the process", () => {
  it("places and settles orders, says that it is well, and stops cleanly", async () => {
    const running = await start();
    try {
      const [orderId = ""] = await placeOrders(running, 1, 60_000);
      const { order } = await clientOf(running).settleOrder({ orderId, paymentReference: "pay-1" });
      assert.equal(order?.state, Order_State.SETTLED);
      const ready = await fetch(`http://${running.ops}/readyz`);
      assert.equal(ready.status, 200);
      const metrics = await (await fetch(`http://${running.ops}/metrics`)).text();
      assert.match(metrics, /orders_total\{state="PENDING"\} 1/);
      assert.match(metrics, /orders_total\{state="SETTLED"\} 1/);
      assert.match(metrics, /inventory_call_seconds_count\{outcome="OK"\} 1/);
      await eventually(() => outboxIsEmptyOf("OrderPlaced"), "the broker has the events");
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  it("expires orders by nudges alone, within a second and a half", async () => {
    const running = await start({ EXPIRY_SWEEPER: "off" });
    try {
      const orders = await placeOrders(running, 50, 1_500);
      const ended = async () =>
        (await Promise.all(orders.map(expiryOf))).every((entry) => entry?.includes("EXPIRED"));
      await eventually(ended, "every order is expired", 15_000);
      const [row] = await database.sql<{ actors: string[]; lag_ms: number }[]>`
        select
          array_agg(distinct order_history.actor) as actors,
          max(extract(epoch from end_time - expire_time) * 1000)::int as lag_ms
        from orders
        join order_history using (tenant_id, order_id)
        where order_id = any(${`{${orders.join(",")}}`}::uuid[])
          and to_state = 'EXPIRED'`;
      assert.deepEqual(row?.actors, ["nudge"]);
      // Up to a second is the nudge's own: it comes at the next whole second.
      assert.ok(row.lag_ms < 1_500, `${row.lag_ms} ms`);
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  it("places, settles and expires orders without a broker, and keeps what it has to tell", async () => {
    const running = await start({ EXPIRY_NUDGES: "off", AMQP_URL: "amqp://127.0.0.1:1" });
    try {
      const [due = "", paid = ""] = [
        ...(await placeOrders(running, 1, 1_000)),
        ...(await placeOrders(running, 1, 60_000)),
      ];
      await clientOf(running).settleOrder({ orderId: paid });
      await eventually(async () => (await expiryOf(due)) === "3 EXPIRED sweeper", "the sweeper", 15_000);
      assert.equal(await outboxIsEmptyOf("OrderExpired"), false);
      assert.equal(await outboxIsEmptyOf("OrderSettled"), false);
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  it("gives up the orders of a process that was killed", async () => {
    const orderId = "0198c0de-0000-7000-8000-00000000dead";
    await database.sql`
      with killed as (
        insert into orders
          (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time)
        values ('demo', ${orderId}, 'RESERVING', 1, 'ann', '', '', now(), now())
      ),
      history as (
        insert into order_history (tenant_id, order_id, sequence, to_state, create_time, actor, reason)
        values ('demo', ${orderId}, 1, 'RESERVING', now(), 'api', '')
      )
      insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
      values ('demo', ${orderId}, 1, 'tea', '', 1, 0)`;
    const running = await start({ RECOVERY_AFTER_MS: "500" });
    try {
      await eventually(async () => (await expiryOf(orderId)) === "2 REJECTED recovery", "the recovery");
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  it("does not start on a database without its tables, until it has migrated it", async () => {
    const empty = await createTestDatabase(join(import.meta.dirname, "migrations"));
    try {
      await empty.sql`drop schema public cascade`;
      await empty.sql`create schema public`;
      await assert.rejects(
        start({ DATABASE_URL: empty.url }),
        /0001_orders.sql, .*: run main.ts migrate first/,
      );
      await promisify(execFile)(process.execPath, [MAIN, "migrate"], {
        env: environment({ DATABASE_URL: empty.url }),
      });
      assert.equal(await stop(await start({ DATABASE_URL: empty.url })), 0);
    } finally {
      await empty.drop();
    }
  });
});
