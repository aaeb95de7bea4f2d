/** The process as it runs in production, beside a real Postgres and RabbitMQ. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { createRpcClient } from "#libs/rpc";
import { createTestBroker, type TestBroker } from "#libs/testing";
import { InventoryService, Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { createInventoryDatabase, type InventoryDatabase } from "./testing/database.ts";
import { until } from "./testing/until.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const START_LIMIT_MS = 15_000;
/** Who reserve at once while the process is killed. */
const CALLERS = 8;

let database: InventoryDatabase;
let broker: TestBroker;
before(async () => {
  [database, broker] = await Promise.all([createInventoryDatabase(), createTestBroker()]);
});
after(async () => {
  await Promise.all([database.drop(), broker.drop()]);
});

function environment(changes: Record<string, string>): Record<string, string> {
  return {
    INSTANCE: "inventory-test",
    RPC_ADDRESS: "127.0.0.1:0",
    OPS_ADDRESS: "127.0.0.1:0",
    DATABASE_URL: database.url,
    AMQP_URL: broker.url,
    ...changes,
  };
}

type Running = { readonly process: ChildProcess; readonly rpc: string; readonly ops: string };
type Line = { msg?: string; rpc?: string; ops?: string; err?: { message: string } };

async function start(changes: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [MAIN], {
    env: environment(changes),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const signal = AbortSignal.timeout(START_LIMIT_MS);
  const ready = Promise.withResolvers<Running>();
  signal.addEventListener("abort", () => ready.reject(new Error("the process did not become ready")));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { msg, rpc = "", ops = "", err }: Line = JSON.parse(line);
    if (msg === "the service is ready") ready.resolve({ process: child, rpc, ops });
    if (msg === "the service could not be started") ready.reject(new Error(err?.message));
  });
  try {
    return await ready.promise;
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
  return createRpcClient({ urls: [`http://${rpc}`], service: InventoryService, timeoutMs: 5_000 });
}

async function reserve(running: Running, sku: string, seconds: number): Promise<string> {
  const expiry = { case: "ttl", value: { seconds: BigInt(seconds) } } as const;
  const lines = [{ sku, quantity: 1 }];
  const { reservation } = await clientOf(running).createReservation({ lines, owner: "till-1", expiry });
  return reservation?.reservationId ?? "";
}

async function stateOf(running: Running, reservationId: string): Promise<Reservation_State | undefined> {
  return (await clientOf(running).getReservation({ reservationId })).reservation?.state;
}

async function metricsOf({ ops }: Running): Promise<string> {
  return await (await fetch(`http://${ops}/metrics`)).text();
}

describe("the process", () => {
  test("reserves and commits, says that it is well, and stops cleanly", async () => {
    const running = await start();
    try {
      const client = clientOf(running);
      await client.createItem({ sku: "tea" });
      await client.adjustStock({ changes: [{ sku: "tea", delta: 10 }] });
      const reservationId = await reserve(running, "tea", 60);
      const { reservation } = await client.commitReservation({ reservationId });
      assert.equal(reservation?.state, Reservation_State.COMMITTED);
      const orders = createRpcClient({
        urls: [`http://${running.rpc}`],
        service: OrderReservationService,
        timeoutMs: 5_000,
      });
      const lines = [{ sku: "tea", quantity: 2 }];
      const { results } = await orders.reserveOrders({ orders: [{ orderId: randomUUID(), lines }] });
      assert.equal(results[0]?.state, Reservation_State.ACTIVE);
      const { stock } = await client.getStock({ sku: "tea" });
      assert.deepEqual([stock?.onHand, stock?.reserved], [9, 2]);
      assert.equal((await fetch(`http://${running.ops}/readyz`)).status, 200);
      const metrics = await metricsOf(running);
      assert.match(metrics, /reservations_total\{state="ACTIVE"\} 2/);
      assert.match(metrics, /reservations_total\{state="COMMITTED"\} 1/);
      assert.match(metrics, /batch_waiting_calls 0/);
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  test("expires by nudges alone", async () => {
    const running = await start({ EXPIRY_SWEEPER: "off" });
    try {
      const reservationId = await reserve(running, "tea", 1);
      await until(async () => /expiries_total\{trigger="nudge"\} 1/.test(await metricsOf(running)));
      assert.equal(await stateOf(running, reservationId), Reservation_State.EXPIRED);
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  test("reserves and expires without a broker", async () => {
    const running = await start({ EXPIRY_NUDGES: "off", AMQP_URL: "amqp://127.0.0.1:1" });
    try {
      await reserve(running, "tea", 1);
      await until(async () => /expiries_total\{trigger="sweeper"\} 1/.test(await metricsOf(running)));
      const nudges = await database.sql`select from outbox where nudge_queue is not null`;
      assert.equal(nudges.length, 0, "nobody would consume a nudge");
    } finally {
      assert.equal(await stop(running), 0);
    }
  });

  test("a killed process leaves nothing half done", async () => {
    const running = await start();
    const client = clientOf(running);
    await client.createItem({ sku: "plenty" });
    await client.adjustStock({ changes: [{ sku: "plenty", delta: 1_000_000 }] });
    const answered: string[] = [];
    let rejected = 0;
    const giveUpAt = performance.now() + 15_000;
    const callers = Array.from({ length: CALLERS }, async () => {
      // Each goes on until one of them has met the kill, so that it can't come too late.
      while (rejected === 0 && performance.now() < giveUpAt) {
        const reservationId = randomUUID();
        const lines = [{ sku: "plenty", quantity: 1 }];
        await client.createReservation({ reservationId, lines, owner: "till-1" }).then(
          () => answered.push(reservationId),
          () => (rejected += 1),
        );
      }
    });
    await until(() => answered.length > 0);
    assert.equal(rejected, 0);
    running.process.kill("SIGKILL");
    await Promise.all(callers);
    assert.ok(rejected > 0, "the kill met nobody");
    const rows = await database.sql<{ id: string }[]>`
      select reservation_id as id
      from reservations
      where tenant_id = 'demo'
        and reservation_id = any(${answered}::uuid[])`;
    assert.deepEqual(rows.map(({ id }) => id).sort(), answered.sort());
    const again = await start();
    try {
      const verified = await clientOf(again).verifyStock({});
      assert.deepEqual(verified.differences, []);
    } finally {
      assert.equal(await stop(again), 0);
    }
  });

  test("does not start on a database without its tables", async () => {
    const empty = await createInventoryDatabase();
    try {
      await empty.sql`delete from schema_migrations`;
      await assert.rejects(
        start({ DATABASE_URL: empty.url }),
        /0001_stock.sql, .*: run main.ts migrate first/,
      );
    } finally {
      await empty.drop();
    }
  });

  test("migrates, and takes old months out of use, on request", async () => {
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, [MAIN, ...args], { env: environment({}) });
    assert.match((await run("migrate")).stdout, /the database is up to date/);
    assert.match((await run("archive", "1")).stdout, /taken out of use/);
    await assert.rejects(run("archive", "soon"), /number of months/);
  });
});
