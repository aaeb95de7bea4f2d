/** The broker loses what it has taken and not delivered: the outcomes of orders. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  assertConsistent,
  countersOf,
  mapAtOnce,
  outboxRows,
  placeOrder,
  receive,
  startTestSystem,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

let system: TestSystem;

before(async () => {
  system = await startTestSystem();
});

after(() => system?.stop());

test("outcomes that a wiped broker had taken reach the stock all the same", async () => {
  const count = 30;
  const sku = await receive(system, count, "wiped");
  const orders = await mapAtOnce(
    Array.from({ length: count }, (_, number) => number),
    10,
    () => placeOrder(system, sku, 1),
  );
  await system.stack.halt("inventory-1");
  await mapAtOnce(orders.slice(0, 20), 10, async ({ orderId }, number) => {
    const requestId = randomUUID();
    if (number < 10) await system.orders.settleOrder({ orderId, requestId });
    else await system.orders.cancelOrder({ orderId, requestId });
  });
  // From here on only the broker has what is to be told.
  await until(
    "the outbox is empty",
    () => outboxRows(system.orderDatabase),
    (rows) => rows === 0,
  );
  await system.stack.halt("rabbitmq");
  rmSync(join(system.folder, "rabbitmq", "data"), { recursive: true });
  await system.stack.start("rabbitmq");
  const live = await system.inventoryDatabase`select 1 from reservations where state = 'ACTIVE'`;
  assert.equal(live.length, count, "no outcome had arrived");

  await system.stack.start("inventory-1");
  // Ten are paid, ten are back, and ten are promised still.
  await untilCounters(system, sku, { onHand: count - 10, reserved: 10 });
  await assertConsistent(system, [sku]);
  assert.deepEqual(await countersOf(system, sku), { onHand: count - 10, reserved: 10 });
});
