/** The process while Inventory takes calls and never answers. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { createTestBroker, createTestDatabase, type TestBroker, type TestDatabase } from "#libs/testing";
import { Order_State } from "#proto/holdfast/order/v1/order_pb.ts";
import { eventually, historyOf } from "./testing/facts.ts";
import {
  clientOf,
  environmentOf,
  placeOrders,
  startFullInventory,
  startOrder,
  stopOrder,
} from "./testing/process.ts";

let database: TestDatabase;
let broker: TestBroker;
let blackHole: Server;
const sockets = new Set<Socket>();
before(async () => {
  [database, broker] = await Promise.all([
    createTestDatabase(join(import.meta.dirname, "migrations")),
    createTestBroker(),
  ]);
  blackHole = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).resume();
  });
  blackHole.listen(0, "127.0.0.1");
  await once(blackHole, "listening");
});
after(async () => {
  for (const socket of sockets) socket.destroy();
  blackHole.close();
  await Promise.all([database.drop(), broker.drop()]);
});

const DEADLINE_MS = 2_000;

it("Inventory that never answers stops creates only, which are told so within their deadline", async () => {
  const address = blackHole.address();
  assert.ok(typeof address === "object" && address);
  const inventory = await startFullInventory();
  const common = { databaseUrl: database.url, amqpUrl: broker.url };
  const well = await startOrder(environmentOf({ ...common, inventoryUrl: `http://${inventory.address}` }));
  const cut = await startOrder(
    environmentOf({ ...common, inventoryUrl: `http://127.0.0.1:${address.port}` }, { INSTANCE: "order-cut" }),
  );
  try {
    const [kept = ""] = await placeOrders(well, 1, 60_000);
    const [short = ""] = await placeOrders(well, 1, 1_000);
    assert.equal(await stopOrder(well), 0);
    const client = clientOf(cut);

    async function create(): Promise<{ readonly code: Code; readonly tookMs: number }> {
      const startedAt = performance.now();
      const request = { customerId: "ann", lines: [{ sku: "tea", quantity: 1 }] };
      const error = await client.createOrder(request, { timeoutMs: DEADLINE_MS }).catch(ConnectError.from);
      assert.ok(error instanceof ConnectError);
      return { code: error.code, tookMs: performance.now() - startedAt };
    }

    // More than one batch, so that the circuit has something to count.
    const creates = Array.from({ length: 8 }, async (_, index) => {
      await pause(50 * index);
      return await create();
    });
    assert.equal((await client.getOrder({ orderId: kept })).order?.state, Order_State.PENDING);
    assert.equal((await client.cancelOrder({ orderId: kept })).order?.state, Order_State.CANCELLED);
    await eventually(
      async () => (await historyOf(database.sql, short)).length === 3,
      "an order expires beside the creates that wait",
    );
    for (const { code, tookMs } of await Promise.all(creates)) {
      assert.ok(tookMs < DEADLINE_MS + 2_000, `${tookMs} ms`);
      assert.ok(code === Code.Unavailable || code === Code.DeadlineExceeded, Code[code]);
    }
    let last = await create();
    await eventually(async () => {
      last = await create();
      return last.tookMs < 200;
    }, "the circuit opens");
    assert.equal(last.code, Code.Unavailable);
    const ready = await fetch(`http://${cut.ops}/readyz`);
    assert.equal(ready.status, 200);
    assert.match(await ready.text(), /circuit (open|halfOpen)/);
  } finally {
    assert.equal(await stopOrder(cut), 0);
    await inventory.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  }
});

it("a create that Inventory does not answer is told that it is unavailable before its deadline", async () => {
  const address = blackHole.address();
  assert.ok(typeof address === "object" && address);
  const running = await startOrder(
    environmentOf({
      databaseUrl: database.url,
      amqpUrl: broker.url,
      inventoryUrl: `http://127.0.0.1:${address.port}`,
    }),
  );
  try {
    const request = { customerId: "ann", lines: [{ sku: "tea", quantity: 1 }] };
    const client = clientOf(running);
    // The connection is made first, so that the deadline is the call's alone.
    await assert.rejects(client.getOrder({ orderId: randomUUID() }));
    const codes: string[] = [];
    // On a busy machine the deadline may come first, but not always; three failures don't open the circuit.
    for (let times = 0; times < 3; times += 1) {
      const error = await client.createOrder(request, { timeoutMs: DEADLINE_MS }).catch(ConnectError.from);
      assert.ok(error instanceof ConnectError);
      codes.push(Code[error.code]);
    }
    assert.ok(codes.includes("Unavailable"), String(codes));
    assert.ok(
      codes.every((code) => code === "Unavailable" || code === "DeadlineExceeded"),
      String(codes),
    );
    const [row] = await database.sql`select state from orders order by create_time desc limit 1`;
    assert.equal(row?.["state"], "RESERVING");
  } finally {
    assert.equal(await stopOrder(running), 0);
  }
});
