/** What a caller leaves out and what it then means, on the way in and on the way out. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import { OrderPlacedSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import {
  GetOrderRequestSchema,
  ListOrdersRequestSchema,
  type OrderLine,
  OrderSchema,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { letFallDue, rejectsWith } from "./testing/facts.ts";
import { createRequest, createScene, type Scene } from "./testing/scene.ts";

const call = testCall();
let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(async () => {
  await scene.drop();
});

async function place(locationId: string, requestId = "") {
  const request = createRequest({ requestId, lines: [{ sku: "tea", quantity: 1, locationId }] });
  const { order } = await scene.api.createOrder(request, call);
  return create(OrderSchema, order ?? {});
}

function locationOf(lines: readonly Partial<Pick<OrderLine, "locationId">>[] | undefined) {
  return lines?.[0]?.locationId;
}

function askedFor(orderId: string) {
  return scene.inventory.calls.flat().filter((asked) => asked.orderId === orderId);
}

describe("an order whose line names no location", () => {
  it("is of the default one, in every answer, in its event and before Inventory", async () => {
    const order = await place("");
    assert.equal(locationOf(order.lines), "main");
    const { orders } = await scene.api.listOrders(create(ListOrdersRequestSchema), call);
    const listed = orders?.find(({ orderId }) => orderId === order.orderId);
    assert.equal(locationOf(listed?.lines), "main");
    assert.equal(locationOf(askedFor(order.orderId)[0]?.lines), "main");
    const event = scene.published.find(({ type }) => type === OrderPlacedSchema.typeName);
    assert.ok(event);
    assert.equal(locationOf(fromBinary(OrderPlacedSchema, event.body).order?.lines), "main");
  });

  it("is of the default one too if a release before has stored it as it was sent", async () => {
    const { orderId } = await place("");
    await scene.sql`update order_lines set location_id = '' where order_id = ${orderId}`;
    const { order } = await scene.api.getOrder(create(GetOrderRequestSchema, { orderId }), call);
    assert.equal(locationOf(order?.lines), "main");
    await letFallDue(scene.sql, [orderId]);
    await scene.api.settleOrder(create(SettleOrderRequestSchema, { orderId }), call);
    const [, late] = askedFor(orderId);
    assert.ok(late && late.reservationId !== orderId, "its stock was reserved again");
    assert.equal(locationOf(late.lines), "main");
  });

  // A request is what was sent. What it comes to may be decided otherwise by another release, and both judge
  // repetitions while one replaces the other.
  it("is another request than one that writes the default out", async () => {
    const requestId = randomUUID();
    const { orderId } = await place("", requestId);
    assert.equal((await place("", requestId)).orderId, orderId);
    await rejectsWith("REQUEST_ID_REUSED", place("main", requestId));
  });
});
