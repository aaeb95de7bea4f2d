/** Two instances of each service, and far more buyers than units. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import {
  assertConsistent,
  countersOf,
  mapAtOnce,
  PROTOCOLS,
  readFailure,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  untilCounters,
} from "./testing.ts";

const ROUNDS = 20;
const BUYERS = 1_000;
const UNITS = 100;

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, inventory: 2, env: { LOG_LEVEL: "warn" } });
});

after(() => system?.stop());

/** What an order comes to: its state, or the reason why there is none. */
async function outcomeOf(lines: { sku: string; quantity: number }[], buyer: number): Promise<string> {
  // Half of them over gRPC and half over JSON, which pass through Envoy on ways of their own.
  const { orders } = system.over[buyer % 2 === 0 ? "gRPC" : "JSON"];
  try {
    const { order } = await orders.createOrder({
      customerId: `buyer-${buyer}`,
      lines,
      requestId: randomUUID(),
    });
    return stateOf(order);
  } catch (error) {
    return readFailure(error).reason;
  }
}

function countEach(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

test(`of ${BUYERS} buyers at once, as many win as there are units, in each of ${ROUNDS} rounds`, async () => {
  const skus: string[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const sku = await receive(system, UNITS, `last-units-${round}`);
    skus.push(sku);
    const buyers = Array.from({ length: BUYERS }, (_, buyer) => outcomeOf([{ sku, quantity: 1 }], buyer));
    const counts = countEach(await Promise.all(buyers));
    assert.deepEqual(counts, { PENDING: UNITS, INSUFFICIENT_STOCK: BUYERS - UNITS }, `round ${round}`);
    assert.deepEqual(await countersOf(system, sku), { onHand: UNITS, reserved: UNITS }, `round ${round}`);
  }
  await assertConsistent(system, skus);
});

test("both instances of each service took part", async () => {
  for (const [name, rpc] of [
    ["ORDER_OPS_URLS", "holdfast.order.v1.OrderService/CreateOrder"],
    ["INVENTORY_OPS_URLS", "holdfast.inventory.v1.OrderReservationService/ReserveOrders"],
  ] as const) {
    for (const url of (system.stack.env[name] ?? "").split(",")) {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      const line = `rpc_call_seconds_count{rpc="${rpc}"} `;
      const found = metrics.split("\n").find((one) => one.startsWith(line));
      const asked = Number(found?.slice(line.length) ?? 0);
      // Inventory is asked for many orders at once, so its calls are few.
      assert(asked >= ROUNDS, `${url} was asked ${asked} times for ${rpc}`);
    }
  }
});

test("orders whose lines overlap in opposite order get all or none, and no deadlock shows", async () => {
  const skus = await Promise.all(["a", "b", "c"].map((name) => receive(system, 200, `overlap-${name}`)));
  const lines = skus.map((sku) => ({ sku, quantity: 1 }));
  const orders = Array.from({ length: 400 }, (_, buyer) =>
    outcomeOf(buyer % 2 === 0 ? lines : lines.toReversed(), buyer),
  );
  assert.deepEqual(countEach(await Promise.all(orders)), { PENDING: 200, INSUFFICIENT_STOCK: 200 });
  for (const sku of skus) assert.deepEqual(await countersOf(system, sku), { onHand: 200, reserved: 200 });
  await assertConsistent(system, skus);
});

test("orders of which one line is short take nothing of their other lines", async () => {
  const [plenty, scarce] = [await receive(system, 1_000, "plenty"), await receive(system, 10, "scarce")];
  const lines = [
    { sku: plenty, quantity: 1 },
    { sku: scarce, quantity: 1 },
  ];
  const orders = Array.from({ length: 100 }, (_, buyer) => outcomeOf(lines, buyer));
  assert.deepEqual(countEach(await Promise.all(orders)), { PENDING: 10, INSUFFICIENT_STOCK: 90 });
  assert.deepEqual(await countersOf(system, plenty), { onHand: 1_000, reserved: 10 });
  assert.deepEqual(await countersOf(system, scarce), { onHand: 10, reserved: 10 });
});

test("a run over all protocols at once, in which winners give back what others then get", async () => {
  const sku = await receive(system, 20, "given-back");
  const buyers = Array.from({ length: 200 }, (_, buyer) => buyer);
  const states = await mapAtOnce(buyers, 50, async (buyer) => {
    const protocol = PROTOCOLS[buyer % PROTOCOLS.length] ?? "gRPC";
    const { orders } = system.over[protocol];
    try {
      const { order } = await orders.createOrder({ customerId: "ann", lines: [{ sku, quantity: 1 }] });
      const { order: ended } = await (buyer % 3 === 0
        ? orders.settleOrder({ orderId: order?.orderId ?? "" })
        : orders.cancelOrder({ orderId: order?.orderId ?? "" }));
      return stateOf(ended);
    } catch (error) {
      return readFailure(error).reason;
    }
  });
  const { SETTLED = 0, CANCELLED = 0, INSUFFICIENT_STOCK = 0 } = countEach(states);
  assert.equal(SETTLED + CANCELLED + INSUFFICIENT_STOCK, 200);
  assert(SETTLED <= 20 && CANCELLED > 0);
  await untilCounters(system, sku, { onHand: 20 - SETTLED, reserved: 0 });
  await assertConsistent(system, [sku]);
});
