/**
 * Time: without a sweeper, so that nothing but the broker's nudges and the callers themselves expire
 * anything.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Order_State, SettleOrderRequest_LatePolicy } from "#proto/holdfast/order/v1/order_pb.ts";
import {
  assertConsistent,
  failureOf,
  historyOf,
  mapAtOnce,
  placeOrder,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

const ORDERS = 1_000;
const TTL_S = 3;
const LAG_MAX_MS = 4_000;

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, env: { EXPIRY_SWEEPER: "off", LOG_LEVEL: "warn" } });
});

after(() => system?.stop());

/** How the orders of an item stand in the database, however they read. */
async function standing(sku: string) {
  const [row] = await system.orderDatabase<{ ended: number; lag: number; actors: string[] }[]>`
    select count(*)::int as ended,
      max(extract(epoch from o.end_time - o.expire_time) * 1000)::int as lag,
      array_agg(distinct h.actor) as actors
    from order_lines l
    join orders o using (tenant_id, order_id)
    join order_history h using (tenant_id, order_id)
    where tenant_id = 'demo'
      and l.sku = ${sku}
      and o.state = 'EXPIRED'
      and h.to_state = 'EXPIRED'`;
  assert(row);
  return row;
}

test(`nudges alone expire ${ORDERS} orders, the last within ${LAG_MAX_MS} ms of its time`, async () => {
  const sku = await receive(system, ORDERS, "forgotten");
  const numbers = Array.from({ length: ORDERS }, (_, number) => number);
  await mapAtOnce(numbers, 100, () => placeOrder(system, sku, 1, TTL_S));
  const { lag, actors } = await until(
    "all orders are expired",
    () => standing(sku),
    ({ ended }) => ended === ORDERS,
  );
  assert.deepEqual(actors, ["nudge"]);
  assert(lag <= LAG_MAX_MS, `the last was expired ${lag} ms after its time`);
  await untilCounters(system, sku, { onHand: ORDERS, reserved: 0 });
  await assertConsistent(system, [sku]);
});

test("an order that was extended meanwhile is not expired early, but at its new time", async () => {
  const sku = await receive(system, 2, "extended");
  const [extended, control] = [await placeOrder(system, sku, 1, 2), await placeOrder(system, sku, 1, 2)];
  const { order: longer } = await system.orders.extendOrder({
    orderId: extended.orderId,
    ttl: { seconds: 6n },
  });
  assert(longer?.expireTime && extended.expireTime);
  assert(timestampMs(longer.expireTime) > timestampMs(extended.expireTime) + 3_000);

  await until(
    "the order that was not extended is expired",
    () => historyOf(system, control.orderId),
    (rows) => rows.at(-1) === "PENDING > EXPIRED by nudge",
  );
  const { order: meanwhile } = await system.orders.getOrder({ orderId: extended.orderId });
  assert.equal(stateOf(meanwhile), "PENDING");

  await until(
    "the extended order is expired",
    () => historyOf(system, extended.orderId),
    (rows) => rows.at(-1) === "PENDING > EXPIRED by nudge",
  );
  const { order: ended } = await system.orders.getOrder({ orderId: extended.orderId });
  assert(ended?.endTime && ended.expireTime);
  assert.deepEqual(ended.expireTime, longer.expireTime);
  assert(timestampMs(ended.endTime) >= timestampMs(longer.expireTime));
  await untilCounters(system, sku, { onHand: 2, reserved: 0 });
});

test("a direct reservation expires by its nudge", async () => {
  const sku = await receive(system, 5, "till");
  const ttl = { seconds: 1n };
  await system.inventory.createReservation({
    lines: [{ sku, quantity: 5 }],
    owner: "till 1",
    expiry: { case: "ttl", value: ttl },
  });
  await untilCounters(system, sku, { onHand: 5, reserved: 0 });
  const { movements } = await system.inventory.listMovements({ sku });
  assert.equal(movements[0]?.reservedDelta, -5);
});

test("an order past its time reads EXPIRED and can't be settled, though nothing expires it", async () => {
  const sku = await receive(system, 3, "overdue");
  // The sweeper is off, and without the broker no nudge can come.
  await system.stack.halt("rabbitmq");
  const orders = await Promise.all([1, 2, 3].map(() => placeOrder(system, sku, 1, 1)));
  const [toSettle, toCancel, toRead] = orders;
  assert(toSettle && toCancel && toRead);
  await until(
    "the orders read EXPIRED",
    () => Promise.all(orders.map(({ orderId }) => system.orders.getOrder({ orderId }))),
    (answers) => answers.every(({ order }) => stateOf(order) === "EXPIRED"),
  );
  const states = await system.orderDatabase<{ state: string }[]>`
    select distinct state
    from orders
    where tenant_id = 'demo'
      and order_id = any(${orders.map(({ orderId }) => orderId)}::uuid[])`;
  assert.deepEqual(
    states.map(({ state }) => state),
    ["PENDING"],
    "something has expired them, so the test shows nothing",
  );

  const { REFUSE: latePolicy } = SettleOrderRequest_LatePolicy;
  const settling = await failureOf(system.orders.settleOrder({ orderId: toSettle.orderId, latePolicy }));
  assert.deepEqual([settling.code, settling.reason], ["FailedPrecondition", "ORDER_EXPIRED"]);
  const cancelling = await failureOf(system.orders.cancelOrder({ orderId: toCancel.orderId }));
  assert.equal(cancelling.reason, "ORDER_EXPIRED");

  const listed = async (state: Order_State) => {
    const { orders: page } = await system.orders.listOrders({ state, pageSize: 100 });
    return page.some(({ orderId }) => orderId === toRead.orderId);
  };
  assert.equal(await listed(Order_State.EXPIRED), true);
  assert.equal(await listed(Order_State.PENDING), false);

  await system.stack.start("rabbitmq");
  await untilCounters(system, sku, { onHand: 3, reserved: 0 });
  assert.equal((await historyOf(system, toRead.orderId)).at(-1), "PENDING > EXPIRED by nudge");
  assert((await historyOf(system, toSettle.orderId)).includes("PENDING > EXPIRED by touch"));
});

test("a late payment settles an order whose stock is there, and is to be refunded otherwise", async () => {
  const sku = await receive(system, 2, "late");
  const soldSku = await receive(system, 2, "sold-meanwhile");
  const [kept, sold] = [await placeOrder(system, sku, 2, 1), await placeOrder(system, soldSku, 2, 1)];
  await untilCounters(system, sku, { onHand: 2, reserved: 0 });
  await untilCounters(system, soldSku, { onHand: 2, reserved: 0 });

  const paid = { paymentReference: "card 4711", requestId: randomUUID() };
  const { order } = await system.over.JSON.orders.settleOrder({ orderId: kept.orderId, ...paid });
  assert.deepEqual([stateOf(order), order?.late], ["SETTLED", true]);
  await untilCounters(system, sku, { onHand: 0, reserved: 0 });

  await placeOrder(system, soldSku, 1);
  const { orderId } = sold;
  const late = { orderId, paymentReference: "card 4712", requestId: randomUUID() };
  const failure = await failureOf(system.over.JSON.orders.settleOrder(late));
  assert.deepEqual([failure.reason, failure.metadata["refund_required"]], ["ORDER_EXPIRED", "true"]);
  const toRefund = async () => {
    const { orders } = await system.over.JSON.orders.listOrders({ refundRequired: true });
    return orders.filter((one) => one.orderId === orderId).map((one) => one.paymentReference);
  };
  assert.deepEqual(await toRefund(), ["card 4712"]);
  await system.over.JSON.orders.resolveRefund({ orderId, resolution: "refund 12" });
  assert.deepEqual(await toRefund(), []);
  await untilCounters(system, soldSku, { onHand: 2, reserved: 1 });
  await assertConsistent(system, [sku, soldSku]);
});
