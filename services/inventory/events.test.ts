import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { pino } from "pino";
import type { Loop } from "#libs/boot";
import { inTransaction } from "#libs/db";
import { connectBroker, createEventMetrics, createOutboxRelay, insertOutbox, toOutbox } from "#libs/events";
import { createTestBroker, type TestBroker, testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { ReserveOrdersRequestSchema } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import {
  OrderAbandonedSchema,
  OrderCancelledSchema,
  OrderExpiredSchema,
  OrderSettledSchema,
} from "#proto/holdfast/order/v1/events_pb.ts";
import { consumeOrders, consumeReservationNudges } from "./events.ts";
import { assertConsistent, countersOf } from "./testing/answers.ts";
import { createScene, ordersRequest, reservationRequest, type Scene, stockItem } from "./testing/scene.ts";
import { until } from "./testing/until.ts";

const log = pino({ level: "silent" });
const call = testCall();
let scene: Scene;
let host: TestBroker;
let broker: ReturnType<typeof connectBroker>;
let relay: ReturnType<typeof createOutboxRelay>;
let loops: Loop[];

before(async () => {
  [scene, host] = await Promise.all([createScene(), createTestBroker()]);
  broker = connectBroker({ url: host.url, name: "test-inventory", log });
  relay = createOutboxRelay({ sql: scene.sql, broker, log, pollIntervalMs: 50 });
  const metrics = createEventMetrics(scene.registry);
  const { sql, changes, expiry, outcomes } = scene;
  loops = [
    consumeOrders({ sql, broker, changes, outcomes, log, metrics }),
    consumeReservationNudges({ sql, broker, expiry, log, metrics }),
  ];
});
after(async () => {
  await Promise.all(loops.map((loop) => loop.stop()));
  await relay.stop();
  await broker.stop();
  await Promise.all([scene.drop(), host.drop()]);
});

/** Sends an event as the order service would: by an outbox and a relay. */
async function send<Desc extends DescMessage>(
  schema: Desc,
  ...messages: MessageShape<Desc>[]
): Promise<void> {
  const rows = messages.map((message) => toOutbox(schema, message, { tenant: "demo", mandatory: true }));
  await inTransaction(scene.sql, (tx) => insertOutbox(tx, rows));
  relay.publish(rows);
}

async function stateOf(reservationId: string): Promise<pb.Reservation_State | undefined> {
  const request = create(pb.GetReservationRequestSchema, { reservationId });
  return (await scene.api.getReservation(request, call)).reservation?.state;
}

async function metricOf(name: string, labels: Record<string, string>): Promise<number> {
  const values = (await scene.registry.getSingleMetric(name)?.get())?.values ?? [];
  const matches = (found: Partial<Record<string, string | number>>) =>
    Object.entries(labels).every(([label, value]) => found[label] === value);
  return values.filter(({ labels: found }) => matches(found)).reduce((sum, { value }) => sum + value, 0);
}

const dead = () => metricOf("holdfast_events_consumed_total", { outcome: "dead" });

describe("the outcome of an order ends its reservation", () => {
  const { COMMITTED, RELEASED } = pb.Reservation_State;
  const outcomes = [
    ["settled", OrderSettledSchema, COMMITTED, [8, 0, 8]],
    ["cancelled", OrderCancelledSchema, RELEASED, [10, 0, 10]],
    ["expired", OrderExpiredSchema, RELEASED, [10, 0, 10]],
    ["abandoned", OrderAbandonedSchema, RELEASED, [10, 0, 10]],
  ] as const;
  for (const [name, schema, state, counters] of outcomes) {
    test(`${name}: the event, come three times, takes effect once`, async () => {
      const [sku, orderId] = [`outcome-${name}`, randomUUID()];
      await stockItem(scene, sku, 10);
      await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), call);
      const event = create(schema, { orderId });
      await send(schema, event, event);
      await until(async () => (await stateOf(orderId)) === state);
      const done = await metricOf("holdfast_events_consumed_total", { outcome: "done" });
      await send(schema, event);
      await until(async () => (await metricOf("holdfast_events_consumed_total", { outcome: "done" })) > done);
      assert.deepEqual(await countersOf(scene, sku), counters);
      assert.equal(await dead(), 0);
    });
  }

  test("an order paid late commits its second reservation, whatever became of the first", async () => {
    const sku = "paid-late";
    await stockItem(scene, sku, 10);
    const [orderId, reservationId] = [randomUUID(), randomUUID()];
    await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), call);
    await send(OrderExpiredSchema, create(OrderExpiredSchema, { orderId }));
    await until(async () => (await stateOf(orderId)) === RELEASED);
    const orders = [{ orderId, reservationId, lines: [{ sku, quantity: 2 }] }];
    const again = create(ReserveOrdersRequestSchema, { orders });
    for (const _ of [1, 2]) {
      const { results } = await scene.orders.reserveOrders(again, call);
      assert.equal(results?.[0]?.state, pb.Reservation_State.ACTIVE);
    }
    assert.deepEqual(await countersOf(scene, sku), [10, 2, 8]);
    const settled = create(OrderSettledSchema, { orderId, reservationId, late: true });
    await send(OrderSettledSchema, settled, settled);
    await until(async () => (await stateOf(reservationId)) === COMMITTED);
    assert.equal(await stateOf(orderId), RELEASED);
    assert.deepEqual(await countersOf(scene, sku), [8, 0, 8]);
    const listing = create(pb.ListReservationsRequestSchema, { owner: `orders/${orderId}` });
    const { reservations } = await scene.api.listReservations(listing, call);
    assert.deepEqual(
      reservations?.map((reservation) => [reservation.reservationId, reservation.state]),
      [
        [reservationId, COMMITTED],
        [orderId, RELEASED],
      ],
    );
    await assertConsistent(scene);
  });

  test("a second reservation that was given up is released, or never made, by its order only", async () => {
    const sku = "given-up-late";
    await stockItem(scene, sku, 10);
    const [orderId, made, unmade] = [randomUUID(), randomUUID(), randomUUID()];
    const reserve = (reservationId: string) =>
      scene.orders.reserveOrders(
        create(ReserveOrdersRequestSchema, {
          orders: [{ orderId, reservationId, lines: [{ sku, quantity: 2 }] }],
        }),
        call,
      );
    await reserve(made);
    const deadBefore = await dead();
    const stranger = create(OrderAbandonedSchema, { orderId: randomUUID(), reservationId: made });
    await send(OrderAbandonedSchema, stranger);
    await until(async () => (await dead()) === deadBefore + 1);
    for (const reservationId of [made, unmade]) {
      await send(OrderAbandonedSchema, create(OrderAbandonedSchema, { orderId, reservationId }));
      await until(
        async () => (await scene.sql`select from reservations where reservation_id = ${made}`).length === 0,
      );
    }
    await until(
      async () => (await scene.sql`select from reservations where reservation_id = ${unmade}`).length === 1,
    );
    const { results } = await reserve(unmade);
    assert.equal(results?.[0]?.state, RELEASED);
    assert.deepEqual(await countersOf(scene, sku), [10, 0, 10]);
  });

  test("a release that comes before its reservation keeps it from ever being made", async () => {
    await stockItem(scene, "early", 10);
    const orderId = randomUUID();
    await send(OrderAbandonedSchema, create(OrderAbandonedSchema, { orderId }));
    await until(
      async () => (await scene.sql`select from reservations where reservation_id = ${orderId}`).length === 1,
    );
    const { results } = await scene.orders.reserveOrders(ordersRequest([orderId], "early"), call);
    assert.equal(results?.[0]?.state, RELEASED);
    assert.deepEqual(await countersOf(scene, "early"), [10, 0, 10]);
  });

  test("an outcome that can't be is refused, counted and put aside", async () => {
    await stockItem(scene, "impossible", 10);
    const orderId = randomUUID();
    await scene.orders.reserveOrders(ordersRequest([orderId], "impossible"), call);
    await send(OrderSettledSchema, create(OrderSettledSchema, { orderId }));
    await until(async () => (await stateOf(orderId)) === COMMITTED);
    const deadBefore = await dead();
    await send(OrderCancelledSchema, create(OrderCancelledSchema, { orderId }));
    await send(OrderSettledSchema, create(OrderSettledSchema, { orderId: randomUUID() }));
    await send(OrderSettledSchema, create(OrderSettledSchema, { orderId: "no uuid" }));
    await until(async () => (await dead()) === deadBefore + 3);
    assert.equal(await stateOf(orderId), COMMITTED);
    assert.deepEqual(await countersOf(scene, "impossible"), [9, 0, 9]);
  });

  test("a thousand outcomes at once are carried out together, and the audit agrees", async () => {
    await stockItem(scene, "many", 2_000);
    const ids = Array.from({ length: 1_000 }, () => randomUUID());
    for (let at = 0; at < ids.length; at += 250) {
      await scene.orders.reserveOrders(ordersRequest(ids.slice(at, at + 250), "many"), call);
    }
    await send(OrderSettledSchema, ...ids.map((orderId) => create(OrderSettledSchema, { orderId })));
    await until(async () => (await countersOf(scene, "many"))[1] === 0);
    assert.deepEqual(await countersOf(scene, "many"), [1_000, 0, 1_000]);
    await assertConsistent(scene);
  });
});

describe("a reservation made directly", () => {
  async function reserve(sku: string, seconds: number): Promise<string> {
    const lines = [{ sku, quantity: 1 }];
    const expiry = { case: "ttl" as const, value: { seconds: BigInt(seconds) } };
    const { reservation } = await scene.api.createReservation(reservationRequest({ lines, expiry }), call);
    relay.wake();
    return reservation?.reservationId ?? "";
  }

  test("is expired by the nudge of its second alone, and one that was extended is not", async () => {
    await stockItem(scene, "nudged", 10);
    await Promise.all([reserve("nudged", 1), reserve("nudged", 1), reserve("nudged", 2)]);
    const reservationId = await reserve("nudged", 2);
    const ttl = { seconds: 600n };
    await scene.api.extendReservation(
      create(pb.ExtendReservationRequestSchema, { reservationId, ttl }),
      call,
    );
    await until(async () => (await countersOf(scene, "nudged"))[1] === 1);
    assert.equal(await metricOf("expiries_total", { trigger: "nudge" }), 3);
    assert.equal(await stateOf(reservationId), pb.Reservation_State.ACTIVE);
    const lag = await scene.sql<{ worst: number }[]>`
      select max(extract(epoch from end_time - expire_time))::double precision as worst
      from ended_reservations
      where state = 'EXPIRED'`;
    assert.ok((lag[0]?.worst ?? 9) < 3, `expired ${lag[0]?.worst} s late`);
  });

  test("shares one nudge with all that fall due in its second", async () => {
    await stockItem(scene, "shared", 500);
    const expireTime = BigInt(Math.ceil(Date.now() / 1_000) + 3_600);
    const expiry = { case: "expireTime" as const, value: { seconds: expireTime } };
    const request = reservationRequest({ lines: [{ sku: "shared", quantity: 1 }], expiry });
    const apis = [scene.api, scene.another().api];
    await Promise.all(
      Array.from({ length: 200 }, (_, at) => (apis[at % 2] ?? scene.api).createReservation(request, call)),
    );
    const nudges = await scene.sql`select from nudges where due_second = to_timestamp(${Number(expireTime)})`;
    assert.equal(nudges.length, 1);
  });

  test("is expired once by nudges that come together, as after an absence of the broker", async () => {
    await stockItem(scene, "backlog", 1_500);
    const nudgedBefore = await metricOf("expiries_total", { trigger: "nudge" });
    await Promise.all(Array.from({ length: 1_500 }, () => reserve("backlog", 600)));
    await scene.sql`
      update reservations
      set expire_time = now() - interval '1 second'
      where lines -> 0 ->> 'sku' = 'backlog'`;
    await Promise.all(Array.from({ length: 50 }, () => scene.expiry.expireDue("demo")));
    assert.deepEqual(await countersOf(scene, "backlog"), [1_500, 0, 1_500]);
    assert.equal(await metricOf("expiries_total", { trigger: "nudge" }), nudgedBefore + 1_500);
  });

  test("is expired by the sweeper alone where no nudge came", async () => {
    await stockItem(scene, "swept", 10);
    const reservationId = await reserve("swept", 600);
    await scene.sql`
      update reservations
      set expire_time = now() - interval '1 minute'
      where reservation_id = ${reservationId}`;
    assert.equal(await scene.expiry.sweep(), false);
    assert.deepEqual(await countersOf(scene, "swept"), [10, 0, 10]);
    assert.equal(await metricOf("expiries_total", { trigger: "sweeper" }), 1);
    await scene.expiry.sweep();
    assert.equal(await metricOf("expiries_total", { trigger: "sweeper" }), 1);
  });
});

test("the reorder point is told to whoever listens, when it is crossed", async () => {
  await stockItem(scene, "low", 10, 5);
  const lines = [{ sku: "low", quantity: 6 }];
  const { reservation } = await scene.api.createReservation(reservationRequest({ lines }), call);
  const { reservationId = "" } = reservation ?? {};
  await scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), call);
  const told = scene.published.map((message) => message.type).filter((type) => /Stock/.test(type));
  assert.deepEqual(told, [
    "holdfast.inventory.v1.StockReplenished",
    "holdfast.inventory.v1.StockRanLow",
    "holdfast.inventory.v1.StockReplenished",
  ]);
});
