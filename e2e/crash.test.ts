/** The Order service dies between its two transactions, at a moment that the test has made certain. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import {
  assertConsistent,
  countersOf,
  failureOf,
  historyOf,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

/** How old an order whose reservation nobody answered must be to be given up. */
const RECOVERY_AFTER_MS = 3_000;
const BUYERS = 50;

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ env: { RECOVERY_AFTER_MS: String(RECOVERY_AFTER_MS) } });
});

after(() => system?.stop());

/** Sends a request whose answer the test does not wait for: it will be cut off. */
function sendOrder(sku: string) {
  const orderId = randomUUID();
  const request = { orderId, customerId: "ann", lines: [{ sku, quantity: 4 }], requestId: randomUUID() };
  const answer = system.orders.createOrder(request).then(
    () => "answered",
    () => "cut off",
  );
  return { orderId, request, answer };
}

/** The state that an order's row has, or none while there is no row. */
async function rowOf(orderId: string): Promise<string> {
  const [row] = await system.orderDatabase<{ state: string }[]>`
    select state
    from orders
    where tenant_id = 'demo'
      and order_id = ${orderId}`;
  return row?.state ?? "none";
}

/** The state of an order's reservation, or the reason why there is none. */
async function reservationOf(orderId: string): Promise<string> {
  const [live] = await system.inventoryDatabase<{ state: string }[]>`
    select state
    from reservations
    where tenant_id = 'demo'
      and reservation_id = ${orderId}
    union all
    select state
    from ended_reservations
    where tenant_id = 'demo'
      and reservation_id = ${orderId}`;
  return live?.state ?? "none";
}

async function assertGivenUp(sent: ReturnType<typeof sendOrder>): Promise<void> {
  const { orderId, request } = sent;
  await until(
    "the order is rejected",
    () => rowOf(orderId),
    (state) => state === "REJECTED",
  );
  const { order } = await system.orders.getOrder({ orderId });
  assert.equal(stateOf(order), "REJECTED");
  assert.equal(order?.rejection?.reason, "ABANDONED");
  assert.deepEqual(await historyOf(system, orderId), [
    "STATE_UNSPECIFIED > RESERVING by api",
    "RESERVING > REJECTED by recovery",
  ]);
  for (const protocol of ["gRPC", "JSON"] as const) {
    const failure = await failureOf(system.over[protocol].orders.createOrder(request));
    assert.deepEqual([failure.code, failure.reason], ["FailedPrecondition", "ORDER_REJECTED"]);
  }
}

test("killed after tx 1, before Inventory was asked: the order is given up", async () => {
  const sku = await receive(system, 10, "before-the-call");
  await system.stack.kill("inventory-1", "SIGSTOP");
  const sent = sendOrder(sku);
  await until(
    "tx 1 is there",
    () => rowOf(sent.orderId),
    (state) => state === "RESERVING",
  );
  // Inventory stands still since before the call: killed now, it has never seen it.
  await Promise.all([system.stack.kill("order-1", "SIGKILL"), system.stack.kill("inventory-1", "SIGKILL")]);
  assert.equal(await sent.answer, "cut off");
  assert.deepEqual([await rowOf(sent.orderId), await reservationOf(sent.orderId)], ["RESERVING", "none"]);
  await Promise.all([system.stack.ready("order-1"), system.stack.ready("inventory-1")]);

  await assertGivenUp(sent);
  await until(
    "the reservation that never was is fenced off",
    () => reservationOf(sent.orderId),
    (state) => state === "RELEASED",
  );
  assert.deepEqual(await countersOf(system, sku), { onHand: 10, reserved: 0 });
  await assertConsistent(system, [sku]);
});

test("killed after Inventory has reserved, before tx 2: the stock comes back", async () => {
  const sku = await receive(system, 10, "after-the-call");
  await system.stack.kill("inventory-1", "SIGSTOP");
  const sent = sendOrder(sku);
  await until(
    "tx 1 is there",
    () => rowOf(sent.orderId),
    (state) => state === "RESERVING",
  );
  // Tx 2 needs the order's row, which this transaction keeps until Order is dead.
  await system.orderDatabase.begin(async (tx) => {
    await tx`select from orders where tenant_id = 'demo' and order_id = ${sent.orderId} for update`;
    await system.stack.kill("inventory-1", "SIGCONT");
    await until(
      "Inventory has reserved",
      () => reservationOf(sent.orderId),
      (state) => state === "ACTIVE",
    );
    await system.stack.kill("order-1", "SIGKILL");
    // What it had sent to the database before it died must not be carried out now.
    await system.orderDatabase`
      select pg_terminate_backend(pid)
      from pg_stat_activity
      where application_name = 'order-1'`;
  });
  assert.equal(await sent.answer, "cut off");
  assert.equal(await rowOf(sent.orderId), "RESERVING");
  assert.deepEqual(await countersOf(system, sku), { onHand: 10, reserved: 4 });
  await system.stack.ready("order-1");

  await assertGivenUp(sent);
  await untilCounters(system, sku, { onHand: 10, reserved: 0 });
  assert.equal(await reservationOf(sent.orderId), "RELEASED");
  await assertConsistent(system, [sku]);
});

test("killed in the middle, and asked again: the answer is what became of the order", async () => {
  const sku = await receive(system, 10, "asked-again");
  await system.stack.kill("inventory-1", "SIGSTOP");
  const sent = sendOrder(sku);
  await until(
    "tx 1 is there",
    () => rowOf(sent.orderId),
    (state) => state === "RESERVING",
  );
  await system.stack.kill("order-1", "SIGKILL");
  await system.stack.kill("inventory-1", "SIGCONT");
  assert.equal(await sent.answer, "cut off");
  assert.equal(await rowOf(sent.orderId), "RESERVING");

  // The next process goes on with it, or gives it up if it came too late.
  await system.stack.ready("order-1");
  const outcome = await system.orders.createOrder(sent.request).then(
    ({ order }) => stateOf(order),
    () => "REJECTED",
  );
  assert.equal(await rowOf(sent.orderId), outcome);
  await untilCounters(system, sku, { onHand: 10, reserved: outcome === "PENDING" ? 4 : 0 });
  await assertConsistent(system, [sku]);
});

test("Inventory killed while many ask it: who was told PENDING has the stock", async () => {
  const onHand = 1_000_000;
  const sku = await receive(system, onHand, "many");
  const outcomes = { pending: 0, failed: 0 };
  let killed = false;
  const giveUpAt = performance.now() + 60_000;
  const isOver = () => outcomes.failed > 0 || performance.now() > giveUpAt;
  async function buy(): Promise<void> {
    // Each goes on until one of them has met the fault, so that it can't come too late.
    while (!isOver()) {
      const request = { customerId: "ann", lines: [{ sku, quantity: 1 }], requestId: randomUUID() };
      await system.orders.createOrder(request).then(
        () => (outcomes.pending += 1),
        () => {
          if (killed) outcomes.failed += 1;
        },
      );
    }
  }
  const buyers = Array.from({ length: BUYERS }, buy);
  await until(
    "some are reserved",
    async () => outcomes.pending,
    (pending) => pending > 0,
  );
  killed = true;
  await system.stack.kill("inventory-1", "SIGKILL");
  await Promise.all(buyers);
  assert(outcomes.failed > 0, "the fault met nobody");
  await system.stack.ready("inventory-1");
  await until(
    "no order is under way",
    async () => {
      const [row] = await system.orderDatabase<{ orders: number }[]>`
        select count(*)::int as orders from orders where state = 'RESERVING'`;
      return row?.orders;
    },
    (orders) => orders === 0,
  );
  const [row] = await system.orderDatabase<{ orders: number }[]>`
    select count(*)::int as orders
    from orders o
    join order_lines l using (tenant_id, order_id)
    where tenant_id = 'demo'
      and l.sku = ${sku}
      and o.state = 'PENDING'`;
  assert((row?.orders ?? 0) >= outcomes.pending);
  await untilCounters(system, sku, { onHand, reserved: row?.orders ?? 0 });
  await assertConsistent(system, [sku]);
});
