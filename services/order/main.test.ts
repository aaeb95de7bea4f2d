/**
 * The process as it runs in production, beside a real Postgres and RabbitMQ and an Inventory that has
 * everything.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import type { RpcServer } from "#libs/rpc";
import { createTestBroker, createTestDatabase, type TestBroker, type TestDatabase } from "#libs/testing";
import { Order_State } from "#proto/holdfast/order/v1/order_pb.ts";
import { eventually, historyOf } from "./testing/facts.ts";
import {
  clientOf,
  environmentOf,
  MAIN,
  placeOrders,
  type Running,
  startFullInventory,
  startOrder,
  stopOrder,
} from "./testing/process.ts";

let database: TestDatabase;
let broker: TestBroker;
let inventory: RpcServer;
before(async () => {
  [database, broker] = await Promise.all([
    createTestDatabase(join(import.meta.dirname, "migrations")),
    createTestBroker(),
  ]);
  inventory = await startFullInventory();
});
after(async () => {
  await inventory.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  await Promise.all([database.drop(), broker.drop()]);
});

function environment(changes: Record<string, string> = {}): Record<string, string> {
  const inventoryUrl = `http://${inventory.address}`;
  return environmentOf({ databaseUrl: database.url, amqpUrl: broker.url, inventoryUrl }, changes);
}

function start(changes: Record<string, string> = {}): Promise<Running> {
  return startOrder(environment(changes));
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
      const { broker: _, ...parts } = JSON.parse(await ready.text());
      assert.deepEqual(parts, {
        status: "ok",
        database: "ok",
        migrations: "ok",
        outbox: "ok",
        inventory: "circuit closed",
      });
      const metrics = await (await fetch(`http://${running.ops}/metrics`)).text();
      assert.match(metrics, /orders_total\{state="PENDING"\} 1/);
      assert.match(metrics, /orders_total\{state="SETTLED"\} 1/);
      assert.match(metrics, /inventory_call_seconds_count\{outcome="OK"\} 1/);
      await eventually(() => outboxIsEmptyOf("OrderPlaced"), "the broker has the events");
    } finally {
      assert.equal(await stopOrder(running), 0);
    }
  });

  it("expires orders by nudges alone, within three seconds", async () => {
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
      assert.ok(row.lag_ms < 3_000, `${row.lag_ms} ms`);
    } finally {
      assert.equal(await stopOrder(running), 0);
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
      assert.equal(await outboxIsEmptyOf("OrdersFellDue"), true, "nobody would consume a nudge");
    } finally {
      assert.equal(await stopOrder(running), 0);
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
      assert.equal(await stopOrder(running), 0);
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
      assert.equal(await stopOrder(await start({ DATABASE_URL: empty.url })), 0);
    } finally {
      await empty.drop();
    }
  });
});
