import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { ReserveOrdersRequestSchema } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { adjustRequest, assertConsistent, countersOf, refusal } from "../testing/answers.ts";
import { createScene, ordersRequest, type Scene, stockItem } from "../testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

const call = testCall();
const { ACTIVE, COMMITTED, RELEASED } = pb.Reservation_State;

describe("the reservations of orders", () => {
  test("each order has its own answer, and a repeated call is answered as it is now", async () => {
    await stockItem(scene, "ordered", 5);
    const [first, second, third] = [randomUUID(), randomUUID(), randomUUID()] as const;
    const request = ordersRequest([first, second, third], "ordered", 2);
    const { results } = await scene.orders.reserveOrders(request, call);
    assert.deepEqual(
      results?.map((result) => result.state),
      [ACTIVE, ACTIVE, 0],
    );
    assert.equal(results?.[2]?.refusal?.reason, "INSUFFICIENT_STOCK");
    assert.deepEqual(
      results?.[2]?.refusal?.shortages?.map((short) => [short.sku, short.requested, short.available]),
      [["ordered", 2, 1]],
    );
    const end = (kind: "commit" | "release", reservationId: string) =>
      scene.changes.reservation("demo", { kind, reservationId, party: "order" });
    await end("commit", first);
    await end("release", second);
    await end("release", third);
    const again = await scene.orders.reserveOrders(request, call);
    assert.deepEqual(
      again.results?.map((result) => result.state),
      [COMMITTED, RELEASED, RELEASED],
    );
    assert.deepEqual(await countersOf(scene, "ordered"), [3, 0, 3]);
    await end("commit", first);
    await end("release", second);
    assert.equal((await refusal(end("release", first))).reason, "RESERVATION_COMMITTED");
    assert.equal((await refusal(end("commit", second))).reason, "RESERVATION_RELEASED");
    await assertConsistent(scene);
  });

  test("an unknown item is told by the order's line", async () => {
    const { results } = await scene.orders.reserveOrders(ordersRequest([randomUUID()], "nothing"), call);
    const { refusal: told } = results?.[0] ?? {};
    assert.deepEqual(
      [told?.reason, told?.field, told?.metadata],
      ["ITEM_NOT_FOUND", "lines[0].sku", { sku: "nothing" }],
    );
  });

  test("a caller can't end an order's reservation, and it has no time limit", async () => {
    await stockItem(scene, "owned", 5);
    const reservationId = randomUUID();
    await scene.orders.reserveOrders(ordersRequest([reservationId], "owned"), call);
    const read = await scene.api.getReservation(
      create(pb.GetReservationRequestSchema, { reservationId }),
      call,
    );
    assert.deepEqual(
      [read.reservation?.owner, read.reservation?.expireTime],
      [`orders/${reservationId}`, undefined],
    );
    for (const work of [
      () => scene.api.commitReservation(create(pb.CommitReservationRequestSchema, { reservationId }), call),
      () => scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), call),
      () =>
        scene.api.extendReservation(
          create(pb.ExtendReservationRequestSchema, { reservationId, ttl: { seconds: 60n } }),
          call,
        ),
    ]) {
      assert.equal((await refusal(work())).reason, "RESERVATION_OWNED_BY_ORDER");
    }
    const request = create(pb.ListReservationsRequestSchema, { owner: `orders/${reservationId}` });
    assert.equal((await scene.api.listReservations(request, call)).reservations?.length, 1);
  });

  test("times within a chain never run backwards, even when the clock does", async () => {
    await stockItem(scene, "clock", 5);
    await scene.sql`update stock_levels set update_time = now() + interval '1 hour' where sku = 'clock'`;
    const { movements } = await scene.api.adjustStock(adjustRequest("clock", 1), call);
    const seconds = Number(movements?.[0]?.createTime?.seconds);
    assert.ok(seconds > Date.now() / 1_000 + 3_000);
  });
});

describe("an order that is paid late before its release has come", () => {
  const release = (reservationId: string) =>
    scene.changes.reservation("demo", { kind: "release", reservationId, party: "order" });

  const commit = (orderId: string, reservationId: string) =>
    scene.changes.reservation("demo", { kind: "commit", reservationId, party: "order", orderId });

  /** A payment of it that came late: the same call at each instance and each repetition. */
  function lateRequest(orderId: string, sku: string, quantity = 2) {
    const lines = [{ sku, quantity }];
    return create(ReserveOrdersRequestSchema, { orders: [{ orderId, reservationId: randomUUID(), lines }] });
  }

  const stateOf = async (reservationId: string) => {
    const request = create(pb.GetReservationRequestSchema, { reservationId });
    return (await scene.api.getReservation(request, call)).reservation?.state;
  };

  test("has the last units again, once, and the release that comes then is a repetition", async () => {
    const [sku, orderId] = ["last-units", randomUUID()];
    await stockItem(scene, sku, 2);
    await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), call);
    const request = lateRequest(orderId, sku);
    const other = scene.another();
    for (const { orders } of [scene, other, scene]) {
      assert.equal((await orders.reserveOrders(request, call)).results?.[0]?.state, ACTIVE);
    }
    assert.deepEqual(await countersOf(scene, sku), [2, 2, 0]);
    assert.equal(await stateOf(orderId), RELEASED);
    assert.equal((await release(orderId)).state, "RELEASED");
    assert.deepEqual(await countersOf(scene, sku), [2, 2, 0]);
    await commit(orderId, request.orders[0]?.reservationId ?? "");
    assert.deepEqual(await countersOf(scene, sku), [0, 0, 0]);
    await assertConsistent(scene);
  });

  test("has them when its call, its repetition and the release come at once, at two instances", async () => {
    const [sku, other] = ["at-once", scene.another()];
    await stockItem(scene, sku, 40);
    const orderIds = Array.from({ length: 20 }, () => randomUUID());
    await scene.orders.reserveOrders(ordersRequest(orderIds, sku, 2), call);
    await Promise.all(
      orderIds.map(async (orderId, at) => {
        const request = lateRequest(orderId, sku);
        const [first, second] = at % 2 ? [scene, other] : [other, scene];
        const [{ results }, again] = await Promise.all([
          first.orders.reserveOrders(request, call),
          second.orders.reserveOrders(request, call),
          release(orderId),
        ]);
        assert.deepEqual([results?.[0]?.state, again.results?.[0]?.state], [ACTIVE, ACTIVE]);
      }),
    );
    assert.deepEqual(await countersOf(scene, sku), [40, 40, 0]);
    await assertConsistent(scene);
  });

  test("gives its own units back even if it is refused more", async () => {
    const [sku, orderId] = ["not-enough", randomUUID()];
    await stockItem(scene, sku, 2);
    await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), call);
    const { results } = await scene.orders.reserveOrders(lateRequest(orderId, sku, 3), call);
    assert.equal(results?.[0]?.refusal?.reason, "INSUFFICIENT_STOCK");
    assert.equal(results?.[0]?.refusal?.shortages?.[0]?.available, 2);
    assert.deepEqual(await countersOf(scene, sku), [2, 0, 2]);
    assert.equal(await stateOf(orderId), RELEASED);
    await assertConsistent(scene);
  });

  test("changes nothing of an own reservation that is committed, or that never was", async () => {
    const [sku, orderId, unseen] = ["committed", randomUUID(), randomUUID()];
    await stockItem(scene, sku, 4);
    await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), call);
    await commit(orderId, orderId);
    await scene.orders.reserveOrders(lateRequest(orderId, sku), call);
    assert.equal(await stateOf(orderId), COMMITTED);
    assert.deepEqual(await countersOf(scene, sku), [2, 2, 0]);
    await scene.orders.reserveOrders(lateRequest(unseen, sku), call);
    assert.equal((await refusal(stateOf(unseen))).reason, "RESERVATION_NOT_FOUND");
    await release(unseen);
    assert.equal(await stateOf(unseen), RELEASED);
    await assertConsistent(scene);
  });
});
