import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import { OrderOutcomesMissedSchema } from "#proto/holdfast/inventory/v1/events_pb.ts";
import { createScene, ordersRequest, reservationRequest, type Scene, stockItem } from "./testing/scene.ts";

const call = testCall();
let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

/** The reservations of each message that was given to the relay since the last look. */
function asked(): { orderId: string; reservationId: string }[][] {
  return scene.published.splice(0).map(({ type, body, mandatory }) => {
    assert.equal(type, OrderOutcomesMissedSchema.typeName);
    const { awaited, late } = fromBinary(OrderOutcomesMissedSchema, body);
    assert.equal(mandatory, !late);
    return awaited.map(({ orderId, reservationId }) => ({ orderId, reservationId }));
  });
}

/** The messages that ask and wait in the outbox, whoever wrote them. */
async function questionsWritten(): Promise<number> {
  const [row] = await scene.sql<{ count: number }[]>`
    select count(*)::int as count from outbox where type = ${OrderOutcomesMissedSchema.typeName}`;
  return row?.count ?? 0;
}

test("late reservations of orders are asked after, and all of them when the queue is new", async () => {
  await stockItem(scene, "asked", 1_000);
  const old = Array.from({ length: 501 }, () => randomUUID());
  for (let at = 0; at < old.length; at += 250)
    await scene.orders.reserveOrders(ordersRequest(old.slice(at, at + 250), "asked", 1), call);
  const lines = [{ sku: "asked", quantity: 1 }];
  await scene.api.createReservation(reservationRequest({ lines }), call);
  await scene.sql`update reservations set create_time = create_time - interval '26 hours'`;
  await scene.orders.reserveOrders(ordersRequest([randomUUID()], "asked", 1), call);
  scene.published.length = 0;

  await scene.outcomes.askLate();
  const messages = asked();
  assert.deepEqual(
    messages.map(({ length }) => length),
    [500, 1],
  );
  const expected = old.toSorted().map((orderId) => ({ orderId, reservationId: orderId }));
  const reservations = messages.flat().sort((one, other) => (one.orderId < other.orderId ? -1 : 1));
  assert.deepEqual(reservations, expected);
  assert.equal(await questionsWritten(), 2);

  await scene.outcomes.askAll();
  assert.equal(asked().flat().length, 502);
});

test("what has ended is not asked after", async () => {
  const [orderId] = [randomUUID()];
  await scene.orders.reserveOrders(ordersRequest([orderId], "asked", 1), call);
  const event = { kind: "release", reservationId: orderId, party: "order", orderId } as const;
  await scene.changes.reservation("demo", event);
  await scene.outcomes.askAll();
  assert.ok(
    asked()
      .flat()
      .every((one) => one.orderId !== orderId),
  );
});

test("a stopped process asks no more", async () => {
  const { outcomes } = scene.another();
  const written = await questionsWritten();
  outcomes.stop();
  await outcomes.askAll();
  await outcomes.askLate();
  assert.equal(await questionsWritten(), written);
});
