/** A process whose clock is wrong: only the database's decides. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { databaseNow } from "#libs/db";
import type { RpcServer } from "#libs/rpc";
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

const TEN_MINUTES_MS = 600_000;
const TTL_MS = 3_000;
const LONG_TTL_MS = 60_000;

let database: TestDatabase;
let broker: TestBroker;
let inventory: RpcServer;
before(async () => {
  [database, broker, inventory] = await Promise.all([
    createTestDatabase(join(import.meta.dirname, "migrations")),
    createTestBroker(),
    startFullInventory(),
  ]);
});
after(async () => {
  await inventory.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  await Promise.all([database.drop(), broker.drop()]);
});

/** Node's arguments for a process whose clock is off by so much. */
function shiftedClock(shiftMs: number): string[] {
  const module = `
    const Real = Date;
    globalThis.Date = class extends Real {
      constructor(...parts) {
        if (parts.length === 0) super(Real.now() + ${shiftMs});
        else super(...parts);
      }
      static now() {
        return Real.now() + ${shiftMs};
      }
    };`;
  return ["--import", `data:text/javascript,${encodeURIComponent(module)}`];
}

function near(time: Timestamp | undefined, expected: number): void {
  assert.ok(time);
  assert.ok(Math.abs(timestampMs(time) - expected) < 5_000, `${timestampMs(time) - expected} ms`);
}

for (const [name, shiftMs] of [
  ["ahead", TEN_MINUTES_MS],
  ["behind", -TEN_MINUTES_MS],
] as const) {
  it(`a process whose clock is ten minutes ${name} does everything at the right time`, async () => {
    const running = await startOrder(
      environmentOf({
        databaseUrl: database.url,
        amqpUrl: broker.url,
        inventoryUrl: `http://${inventory.address}`,
      }),
      shiftedClock(shiftMs),
    );
    try {
      const now = (await databaseNow(database.sql)).getTime();
      assert.ok(Math.abs(running.clock - now - shiftMs) < 30_000, "the clock of the process is off");
      const client = clientOf(running);
      const [paid = ""] = await placeOrders(running, 1, LONG_TTL_MS);
      const [due = ""] = await placeOrders(running, 1, TTL_MS);
      const requestId = randomUUID();
      const { order: settled } = await client.settleOrder({ orderId: paid, requestId });
      assert.deepEqual([settled?.state, settled?.late], [Order_State.SETTLED, false]);
      near(settled?.createTime, now);
      near(settled?.endTime, now);
      near(settled?.expireTime, now + LONG_TTL_MS);
      assert.equal((await client.getOrder({ orderId: due })).order?.state, Order_State.PENDING);
      await eventually(async () => {
        const history = await historyOf(database.sql, due);
        return history.some((entry) => entry.startsWith("3 EXPIRED"));
      }, "the order expires");
      const { order: expired } = await client.getOrder({ orderId: due });
      near(expired?.endTime, now + TTL_MS);
      assert.ok(expired?.endTime && expired.expireTime);
      const lagMs = timestampMs(expired.endTime) - timestampMs(expired.expireTime);
      assert.ok(lagMs >= 0 && lagMs < 5_000, `${lagMs} ms`);
      const { order: late } = await client.settleOrder({ orderId: due });
      assert.deepEqual([late?.state, late?.late], [Order_State.SETTLED, true]);
      const { order: again } = await client.settleOrder({ orderId: paid, requestId });
      assert.deepEqual(again, settled);
    } finally {
      assert.equal(await stopOrder(running), 0);
    }
  });
}
