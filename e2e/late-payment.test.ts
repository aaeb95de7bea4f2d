/** Payments that come after their order has expired, over the whole system and its JSON. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { SettleOrderRequest_LatePolicy } from "#proto/holdfast/order/v1/order_pb.ts";
import {
  assertConsistent,
  countersOf,
  failureOf,
  historyOf,
  placeOrder,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, env: { LOG_LEVEL: "warn" } });
});

after(() => system?.stop());

/** An order of 2 whose time has run out and whose stock has come back. */
async function expiredOrder(sku: string, onHand: number): Promise<string> {
  const { orderId } = await placeOrder(system, sku, 2, 1);
  await until(
    "the order is expired",
    () => historyOf(system, orderId),
    (rows) => /EXPIRED/.test(rows.at(-1) ?? ""),
  );
  await untilCounters(system, sku, { onHand, reserved: 0 });
  return orderId;
}

test("an order that is paid late has its stock again, and the counters and the ledger agree", async () => {
  const sku = await receive(system, 5, "late");
  const orderId = await expiredOrder(sku, 5);
  const payment = { orderId, paymentReference: "card 7", requestId: randomUUID() };
  const { order } = await system.over.JSON.orders.settleOrder(payment);
  assert.deepEqual([stateOf(order), order?.late, order?.paymentReference], ["SETTLED", true, "card 7"]);
  await untilCounters(system, sku, { onHand: 3, reserved: 0 });
  const { order: again } = await system.over.Connect.orders.settleOrder(payment);
  assert.deepEqual(again, order);
  assert.equal((await failureOf(system.orders.settleOrder({ orderId }))).reason, "ORDER_SETTLED");
  const { reservations } = await system.inventory.listReservations({ owner: `orders/${orderId}` });
  assert.equal(reservations.length, 2);
  await assertConsistent(system, [sku]);
});

test("an order that is paid late when its stock is gone is refunded and no longer listed", async () => {
  const sku = await receive(system, 2, "gone");
  const orderId = await expiredOrder(sku, 2);
  const winner = await placeOrder(system, sku, 2);
  await system.orders.settleOrder({ orderId: winner.orderId });
  const { orders } = system.over.JSON;
  const refusal = await failureOf(orders.settleOrder({ orderId, paymentReference: "card 8" }));
  assert.deepEqual([refusal.reason, refusal.metadata["refund_required"]], ["ORDER_EXPIRED", "true"]);
  const listed = async () => (await orders.listOrders({ refundRequired: true })).orders;
  const [toRefund, ...others] = await listed();
  assert.deepEqual(
    [toRefund?.orderId, toRefund?.paymentReference, toRefund?.refundRequired, others.length],
    [orderId, "card 8", true, 0],
  );
  const { order } = await orders.resolveRefund({ orderId, resolution: "sent back" });
  assert.deepEqual([order?.refundRequired, order?.refundResolution], [false, "sent back"]);
  assert.deepEqual(await listed(), []);
  await untilCounters(system, sku, { onHand: 0, reserved: 0 });
  await assertConsistent(system, [sku]);
});

test("a payment that its caller wants given back takes no stock", async () => {
  const sku = await receive(system, 5, "refused");
  const orderId = await expiredOrder(sku, 5);
  const latePolicy = SettleOrderRequest_LatePolicy.REFUSE;
  const refusal = await failureOf(system.over.JSON.orders.settleOrder({ orderId, latePolicy }));
  assert.deepEqual([refusal.reason, refusal.metadata["refund_required"]], ["ORDER_EXPIRED", "true"]);
  const { order } = await system.over["gRPC-Web"].orders.getOrder({ orderId });
  assert.equal(order?.refundRequired, true);
  await untilCounters(system, sku, { onHand: 5, reserved: 0 });
});

test("an order that is paid late has the last units while its own release can't come", async () => {
  const sku = await receive(system, 2, "last");
  // Without the broker OrderExpired does not reach Inventory.
  await system.stack.halt("rabbitmq");
  const { orderId } = await placeOrder(system, sku, 2, 1);
  await until(
    "the order is past its time",
    async () => stateOf((await system.orders.getOrder({ orderId })).order),
    (state) => state === "EXPIRED",
  );
  assert.deepEqual(await countersOf(system, sku), { onHand: 2, reserved: 2 });
  const { order } = await system.over.JSON.orders.settleOrder({ orderId, paymentReference: "card 9" });
  assert.deepEqual([stateOf(order), order?.late], ["SETTLED", true]);
  await system.stack.start("rabbitmq");
  await untilCounters(system, sku, { onHand: 0, reserved: 0 });
  await assertConsistent(system, [sku]);
});
