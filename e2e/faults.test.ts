/** The broker goes and comes, and callers hang up in the middle. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  assertConsistent,
  countersOf,
  mapAtOnce,
  outboxRows,
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
  system = await startTestSystem({ order: 2, inventory: 2, env: { RECOVERY_AFTER_MS: "3000" } });
});

after(() => system?.stop());

/** How many orders of an item were expired, and by what. */
async function expiries(sku: string): Promise<Record<string, number>> {
  const rows = await system.orderDatabase<{ actor: string; times: number }[]>`
    select h.actor, count(*)::int as times
    from order_lines l
    join order_history h using (tenant_id, order_id)
    where tenant_id = 'demo'
      and l.sku = ${sku}
      and h.to_state = 'EXPIRED'
    group by h.actor`;
  return Object.fromEntries(rows.map(({ actor, times }) => [actor, times]));
}

test("with the broker stopped the sweeper alone expires; the stock is back with the broker", async () => {
  const count = 200;
  const sku = await receive(system, count, "no-broker");
  await system.stack.halt("rabbitmq");
  const numbers = Array.from({ length: count }, (_, number) => number);
  await mapAtOnce(numbers, 50, () => placeOrder(system, sku, 1, 1));
  await until(
    "the sweeper has expired them all",
    () => expiries(sku),
    ({ sweeper }) => sweeper === count,
  );
  // Nobody can have told Inventory: what is to be told waits in the outbox.
  assert((await outboxRows(system.orderDatabase)) >= count);
  assert.deepEqual(await countersOf(system, sku), { onHand: count, reserved: count });

  await system.stack.start("rabbitmq");
  await untilCounters(system, sku, { onHand: count, reserved: 0 });
  await until(
    "the outbox is empty",
    () => outboxRows(system.orderDatabase),
    (rows) => rows === 0,
  );
  assert.deepEqual(await expiries(sku), { sweeper: count });
  await assertConsistent(system, [sku]);
});

test("with the broker killed and started under way, every payment reaches the stock", async () => {
  const units = 1_000_000;
  const sku = await receive(system, units, "broker-killed");
  let settled = 0;
  let isKilled = false;
  const buyers = Array.from({ length: 10 }, async () => {
    // Each goes on until the broker is gone, so that this can't come too late.
    while (!isKilled || settled < 300) {
      const { orderId } = await placeOrder(system, sku, 1);
      const { order } = await system.orders.settleOrder({ orderId, requestId: randomUUID() });
      assert.equal(stateOf(order), "SETTLED");
      settled += 1;
    }
  });
  await until(
    "some have paid",
    () => settled,
    (times) => times > 20,
  );
  const pid = system.stack.processes().get("rabbitmq");
  await system.stack.kill("rabbitmq", "SIGKILL");
  isKilled = true;
  await Promise.all(buyers);
  await system.stack.ready("rabbitmq");
  assert.notEqual(system.stack.processes().get("rabbitmq"), pid);
  await untilCounters(system, sku, { onHand: units - settled, reserved: 0 });
  await assertConsistent(system, [sku]);
});

/** How long an order takes when as many are placed at once as in the test below: the median. */
async function measureLatencyMs(atOnce: number): Promise<number> {
  const numbers = Array.from({ length: 8 * atOnce }, (_, number) => number);
  const sku = await receive(system, numbers.length, "measured");
  const tookMs = await mapAtOnce(numbers, atOnce, async (number) => {
    const startedAt = performance.now();
    await placeOrder(system.over[number % 2 === 0 ? "gRPC" : "JSON"], sku, 1);
    return performance.now() - startedAt;
  });
  return tookMs.sort((one, other) => one - other)[tookMs.length >> 1] ?? 0;
}

test("1,000 callers who hang up in the middle leave no reservation without an order", async () => {
  const times = 1_000;
  const sku = await receive(system, times, "hung-up");
  const pids = [...system.stack.processes()].filter(([name]) => /^(order|inventory|envoy)/.test(name));
  const numbers = Array.from({ length: times }, (_, number) => number);
  const latencyMs = await measureLatencyMs(25);
  const outcomes = await mapAtOnce(numbers, 25, (number) => {
    const { orders } = system.over[number % 2 === 0 ? "gRPC" : "JSON"];
    const lines = [{ sku, quantity: 1 }];
    // From before the request is sent to long after its answer would come.
    const signal = AbortSignal.timeout(Math.round(((number % 40) / 20) * latencyMs));
    return orders.createOrder({ customerId: "ann", lines, requestId: randomUUID() }, { signal }).then(
      () => "answered",
      (error: unknown) => {
        const { code } = ConnectError.from(error);
        assert([Code.Canceled, Code.DeadlineExceeded, Code.Unavailable].includes(code), String(error));
        return "hung up";
      },
    );
  });
  const hungUp = outcomes.filter((outcome) => outcome === "hung up").length;
  // About half of them; fewer if the answers come sooner than those that were measured.
  assert(hungUp > times / 10, `only ${hungUp} of ${times} hung up before they were answered`);

  await until(
    "no order is under way",
    async () => {
      const [row] = await system.orderDatabase<{ orders: number }[]>`
        select count(*)::int as orders from orders where state = 'RESERVING'`;
      return row?.orders;
    },
    (orders) => orders === 0,
  );
  const pending = (
    await system.orderDatabase<{ orderId: string }[]>`
      select order_id as "orderId"
      from orders o
      join order_lines l using (tenant_id, order_id)
      where tenant_id = 'demo'
        and l.sku = ${sku}
        and o.state = 'PENDING'`
  ).map(({ orderId }) => orderId);
  // Some went through although nobody waited for the answer, or nothing was cut in the middle.
  assert(pending.length > times - hungUp, `${pending.length} orders, ${times - hungUp} answers`);
  await untilCounters(system, sku, { onHand: times, reserved: pending.length });
  const reserved = await system.inventoryDatabase<{ reservationId: string }[]>`
    select reservation_id as "reservationId"
    from reservation_lines
    where tenant_id = 'demo'
      and sku = ${sku}`;
  assert.deepEqual(reserved.map(({ reservationId }) => reservationId).sort(), pending.sort());
  const still = [...system.stack.processes()].filter(([name]) => /^(order|inventory|envoy)/.test(name));
  assert.deepEqual(still, pids);
  await assertConsistent(system, [sku]);
});
