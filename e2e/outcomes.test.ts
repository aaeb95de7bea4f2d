/** One outcome, whoever comes at the same moment; and one effect, however often a request is sent. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Order, SettleOrderRequest_LatePolicy } from "#proto/holdfast/order/v1/order_pb.ts";
import {
  assertConsistent,
  atTime,
  historyOf,
  mapAtOnce,
  placeOrder,
  readFailure,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

const ORDERS = 500;
const TTL_S = 6;

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, inventory: 2, env: { LOG_LEVEL: "warn" } });
});

after(() => system?.stop());

/** Some come just after the end of the time, most in the second before: on a busy machine all come later. */
function aroundTheEndMs(number: number): number {
  return 40 - (number % 20) * 60;
}

/** What one caller is told: that the order is as wanted, or the reason why it is not. */
async function told(call: Promise<{ order?: Parameters<typeof stateOf>[0] }>): Promise<string> {
  try {
    const { order } = await call;
    return stateOf(order);
  } catch (error) {
    return readFailure(error).reason;
  }
}

test(`settle, cancel and expiry at one moment leave each of ${ORDERS} orders one outcome`, async () => {
  const sku = await receive(system, ORDERS, "contested");
  const numbers = Array.from({ length: ORDERS }, (_, number) => number);
  // A payment that comes too late is to change nothing here.
  const { REFUSE: latePolicy } = SettleOrderRequest_LatePolicy;
  const race = async ({ orderId, expireTime }: Order, number: number) => {
    assert(expireTime);
    const moment = timestampMs(expireTime) + aroundTheEndMs(number);
    const settle = () =>
      told(system.over.gRPC.orders.settleOrder({ orderId, paymentReference: "card", latePolicy }));
    const cancel = () => told(system.over.JSON.orders.cancelOrder({ orderId, reason: "changed my mind" }));
    const [first, second] = number % 2 === 0 ? [settle, cancel] : [cancel, settle];
    const answers = await atTime(moment, () => Promise.all([first(), second()]));
    return { orderId, answers };
  };
  // Each begins once its order is there: on a busy machine the first fall due before the last is placed.
  const races = await mapAtOnce(numbers, 50, async (number) => {
    const order = await placeOrder(system, sku, 1, TTL_S);
    return { over: race(order, number) };
  });
  const raced = await Promise.all(races.map(({ over }) => over));

  const won = { SETTLED: 0, CANCELLED: 0, EXPIRED: 0 };
  await mapAtOnce(raced, 50, async ({ orderId, answers }) => {
    const { order } = await system.orders.getOrder({ orderId });
    const state = stateOf(order);
    assert(state === "SETTLED" || state === "CANCELLED" || state === "EXPIRED", state);
    won[state] += 1;
    const winners = answers.filter((answer) => answer === state);
    const losers = answers.filter((answer) => answer !== state);
    assert.equal(winners.length, state === "EXPIRED" ? 0 : 1, `${state}, but told ${answers.join()}`);
    for (const reason of losers) assert.equal(reason, `ORDER_${state}`);
  });
  // All three took part, or it was no race.
  for (const [state, count] of Object.entries(won)) assert(count > 0, `${state} never won`);

  await assertOneTerminalRowEach(raced.map(({ orderId }) => orderId));
  await untilCounters(system, sku, { onHand: ORDERS - won.SETTLED, reserved: 0 });
  await assertConsistent(system, [sku]);
});

async function assertOneTerminalRowEach(orderIds: string[]): Promise<void> {
  const rows = await system.orderDatabase<{ rows: number; agrees: boolean }[]>`
    select count(*)::int as rows, bool_and(to_state = o.state) as agrees
    from orders o
    join order_history h using (tenant_id, order_id)
    where tenant_id = 'demo'
      and order_id = any(${orderIds}::uuid[])
      and h.from_state <> h.to_state
      and h.to_state in ('SETTLED', 'CANCELLED', 'EXPIRED')
    group by order_id`;
  assert.equal(rows.length, ORDERS);
  for (const row of rows) assert.deepEqual({ ...row }, { rows: 1, agrees: true });
}

test("of many who settle and cancel one order at once, one wins and all others are told who", async () => {
  const sku = await receive(system, 50, "crowd");
  const numbers = Array.from({ length: 50 }, (_, number) => number);
  const orders = await mapAtOnce(numbers, 10, () => placeOrder(system, sku, 1));
  let settled = 0;
  for (const { orderId } of orders) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, caller) => {
        const over = system.over[caller % 4 < 2 ? "gRPC" : "JSON"].orders;
        return told(caller % 2 === 0 ? over.settleOrder({ orderId }) : over.cancelOrder({ orderId }));
      }),
    );
    const [winner = "", ...more] = answers.filter((answer) => !answer.startsWith("ORDER_"));
    assert.deepEqual(more, []);
    assert.equal(answers.filter((answer) => answer === `ORDER_${winner}`).length, 9, answers.join());
    const reference = winner === "SETTLED" ? "SETTLED" : "CANCELLED";
    assert.deepEqual(await historyOf(system, orderId), [
      "STATE_UNSPECIFIED > RESERVING by api",
      "RESERVING > PENDING by api",
      `PENDING > ${reference} by api`,
    ]);
    if (winner === "SETTLED") settled += 1;
  }
  await untilCounters(system, sku, { onHand: 50 - settled, reserved: 0 });
});

test("direct reservations: of commit, release and expiry at the same moment one wins", async () => {
  const count = 200;
  const sku = await receive(system, count, "till");
  const numbers = Array.from({ length: count }, (_, number) => number);
  const lines = [{ sku, quantity: 1 }];
  const reservations = await mapAtOnce(numbers, 50, async () => {
    const request = { lines, owner: "till 1", requestId: randomUUID() };
    const ttl = { seconds: 3n };
    const answer = await system.inventory.createReservation({
      ...request,
      expiry: { case: "ttl", value: ttl },
    });
    assert(answer.reservation);
    return answer.reservation;
  });
  const answers = await Promise.all(
    reservations.map(({ reservationId, expireTime }, number) => {
      assert(expireTime);
      const ask = async (call: Promise<unknown>, done: string) => {
        try {
          await call;
          return done;
        } catch (error) {
          return readFailure(error).reason;
        }
      };
      return atTime(timestampMs(expireTime) + aroundTheEndMs(number), () =>
        Promise.all([
          ask(system.over.gRPC.inventory.commitReservation({ reservationId }), "COMMITTED"),
          ask(system.over.JSON.inventory.releaseReservation({ reservationId }), "RELEASED"),
        ]),
      );
    }),
  );
  const won = { COMMITTED: 0, RELEASED: 0, EXPIRED: 0 };
  for (const both of answers) {
    const [winner = "EXPIRED", ...more] = both.filter((answer) => !answer.startsWith("RESERVATION_"));
    assert(winner === "COMMITTED" || winner === "RELEASED" || winner === "EXPIRED", winner);
    assert.deepEqual(more, []);
    won[winner] += 1;
    const losers = both.filter((answer) => answer.startsWith("RESERVATION_"));
    for (const reason of losers) assert.equal(reason, `RESERVATION_${winner}`);
  }
  for (const [state, times] of Object.entries(won)) assert(times > 0, `${state} never won`);
  await untilCounters(system, sku, { onHand: count - won.COMMITTED, reserved: 0 });
  await until(
    "no reservation of the item is live",
    () => system.inventory.explainStock({ sku }),
    ({ holderCount }) => holderCount === 0,
  );
  await assertConsistent(system, [sku]);
});
