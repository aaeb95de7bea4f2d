import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { adjustRequest, assertConsistent, countersOf, refusal, tenTimes } from "../testing/answers.ts";
import { createScene, reservationRequest, type Scene, stockItem } from "../testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

const call = testCall();
const { ACTIVE, COMMITTED, EXPIRED, RELEASED } = pb.Reservation_State;

describe("reservations", () => {
  test("a reservation is made, read, extended and committed", async () => {
    await stockItem(scene, "tea", 100);
    const made = await scene.api.createReservation(
      reservationRequest({ lines: [{ sku: "tea", quantity: 2 }] }),
      call,
    );
    const { reservationId = "", createTime, expireTime } = made.reservation ?? {};
    assert.ok(createTime && expireTime);
    const ttlMs = (expireTime.seconds ?? 0n) - (createTime.seconds ?? 0n);
    assert.equal(ttlMs, 900n);
    const read = () =>
      scene.api.getReservation(create(pb.GetReservationRequestSchema, { reservationId }), call);
    assert.deepEqual(await read(), made);
    const extend = create(pb.ExtendReservationRequestSchema, { reservationId, ttl: { seconds: 3_600n } });
    const extended = await scene.api.extendReservation(extend, call);
    const [earlier, later] = [expireTime, extended.reservation?.expireTime].map((time) =>
      Number(time?.seconds),
    );
    assert.ok(earlier !== undefined && later !== undefined && later > earlier + 2_000);
    const commit = create(pb.CommitReservationRequestSchema, { reservationId });
    const committed = await scene.api.commitReservation(commit, call);
    assert.equal(committed.reservation?.state, COMMITTED);
    assert.ok(committed.reservation?.endTime);
    assert.deepEqual(await read(), committed);
    assert.equal((await refusal(scene.api.commitReservation(commit, call))).reason, "RESERVATION_COMMITTED");
    const release = create(pb.ReleaseReservationRequestSchema, { reservationId });
    assert.equal(
      (await refusal(scene.api.releaseReservation(release, call))).reason,
      "RESERVATION_COMMITTED",
    );
    assert.equal((await refusal(scene.api.extendReservation(extend, call))).reason, "RESERVATION_COMMITTED");
    const unknown = create(pb.GetReservationRequestSchema, { reservationId: randomUUID() });
    assert.equal((await refusal(scene.api.getReservation(unknown, call))).reason, "RESERVATION_NOT_FOUND");
  });

  test("each mutation, sent ten times at once to two instances, takes effect once", async () => {
    await stockItem(scene, "ten-times", 100);
    const lines = [{ sku: "ten-times", quantity: 3 }];
    const request = reservationRequest({ lines, requestId: randomUUID() });
    const { reservation } = await tenTimes(scene, (api) => api.createReservation(request, call));
    assert.deepEqual(await countersOf(scene, "ten-times"), [100, 3, 97]);
    const { reservationId = "" } = reservation ?? {};
    const extend = create(pb.ExtendReservationRequestSchema, {
      reservationId,
      ttl: { seconds: 3_600n },
      requestId: randomUUID(),
    });
    await tenTimes(scene, (api) => api.extendReservation(extend, call));
    const commit = create(pb.CommitReservationRequestSchema, { reservationId, requestId: randomUUID() });
    await tenTimes(scene, (api) => api.commitReservation(commit, call));
    assert.deepEqual(await countersOf(scene, "ten-times"), [97, 0, 97]);
    const again = await scene.api.createReservation(request, call);
    assert.equal(
      again.reservation?.state,
      COMMITTED,
      "a repeated request is answered with the reservation as it is now",
    );
    const second = await scene.api.createReservation(reservationRequest({ lines }), call);
    const release = create(pb.ReleaseReservationRequestSchema, {
      reservationId: second.reservation?.reservationId ?? "",
      requestId: randomUUID(),
    });
    await tenTimes(scene, (api) => api.releaseReservation(release, call));
    const reused = { ...commit, requestId: request.requestId };
    assert.equal((await refusal(scene.api.commitReservation(reused, call))).reason, "REQUEST_ID_REUSED");
    await assertConsistent(scene);
  });

  test("the request_id of an item is refused for a reservation, whose neighbours do not notice", async () => {
    const requestId = randomUUID();
    await scene.api.createItem(create(pb.CreateItemRequestSchema, { sku: "named", requestId }), call);
    await scene.api.adjustStock(adjustRequest("named", 2), call);
    const lines = [{ sku: "named", quantity: 1 }];
    const reused = reservationRequest({ lines, requestId });
    const [refused, made] = await Promise.all([
      refusal(scene.api.createReservation(reused, call)),
      scene.api.createReservation(reservationRequest({ lines }), call),
    ]);
    assert.equal(refused.reason, "REQUEST_ID_REUSED");
    assert.equal(made.reservation?.state, ACTIVE);
    const adjustment = { ...adjustRequest("named", 1), requestId };
    assert.equal((await refusal(scene.api.adjustStock(adjustment, call))).reason, "REQUEST_ID_REUSED");
    assert.deepEqual(await countersOf(scene, "named"), [2, 1, 1]);
  });

  test("a request that was refused without effect is judged anew", async () => {
    await stockItem(scene, "anew", 0);
    const request = reservationRequest({ lines: [{ sku: "anew", quantity: 1 }], requestId: randomUUID() });
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "INSUFFICIENT_STOCK");
    await scene.api.adjustStock(adjustRequest("anew", 1), call);
    assert.equal((await scene.api.createReservation(request, call)).reservation?.state, ACTIVE);
  });

  test("an id of tomorrow is refused, one that is an hour ahead is found when it has ended", async () => {
    await stockItem(scene, "ahead", 5);
    const idAt = (time: number) => {
      const hex = time.toString(16).padStart(12, "0");
      return `${hex.slice(0, 8)}-${hex.slice(8)}-7${randomUUID().slice(15)}`;
    };
    const make = (reservationId: string) =>
      scene.api.createReservation(
        reservationRequest({ lines: [{ sku: "ahead", quantity: 1 }], reservationId }),
        call,
      );
    const error = await refusal(make(idAt(Date.now() + 25 * 3_600_000)));
    assert.equal(error.reason, "INVALID_FIELD");
    assert.deepEqual(
      error.data.fields?.map(({ field }) => field),
      ["reservation_id"],
    );
    const reservationId = idAt(Date.now() + 3_600_000);
    await make(reservationId);
    await scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), call);
    assert.equal((await refusal(make(reservationId))).reason, "RESERVATION_EXISTS");
  });

  test("an id that is taken is refused, live or ended, and a validation only judges", async () => {
    await stockItem(scene, "taken", 5);
    const lines = [{ sku: "taken", quantity: 1 }];
    const reservationId = randomUUID().toUpperCase();
    const validate = reservationRequest({ lines, reservationId, validateOnly: true });
    const judged = await scene.api.createReservation(validate, call);
    assert.equal(judged.reservation?.reservationId, reservationId.toLowerCase());
    assert.deepEqual(await countersOf(scene, "taken"), [5, 0, 5]);
    const request = reservationRequest({ lines, reservationId });
    await scene.api.createReservation(request, call);
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "RESERVATION_EXISTS");
    await scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), call);
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "RESERVATION_EXISTS");
  });

  test("past its time a reservation reads EXPIRED and can't be committed or extended", async () => {
    await stockItem(scene, "late", 5);
    const lines = [{ sku: "late", quantity: 1 }];
    const owner = "till-late";
    const { reservation } = await scene.api.createReservation(reservationRequest({ lines, owner }), call);
    const { reservationId = "" } = reservation ?? {};
    await scene.sql`
      update reservations
      set expire_time = now() - interval '1 minute'
      where reservation_id = ${reservationId}`;
    const read = await scene.api.getReservation(
      create(pb.GetReservationRequestSchema, { reservationId }),
      call,
    );
    assert.equal(read.reservation?.state, EXPIRED);
    for (const [state, count] of [
      [ACTIVE, 0],
      [EXPIRED, 1],
      [0, 1],
    ] as const) {
      const request = create(pb.ListReservationsRequestSchema, { state, owner });
      assert.equal((await scene.api.listReservations(request, call)).reservations?.length, count);
    }
    assert.deepEqual(await countersOf(scene, "late"), [5, 1, 4]);
    const extend = create(pb.ExtendReservationRequestSchema, { reservationId, ttl: { seconds: 60n } });
    assert.equal((await refusal(scene.api.extendReservation(extend, call))).reason, "RESERVATION_EXPIRED");
    assert.deepEqual(await countersOf(scene, "late"), [5, 0, 5], "whoever touches it, expires it");
    const commit = create(pb.CommitReservationRequestSchema, { reservationId });
    assert.equal((await refusal(scene.api.commitReservation(commit, call))).reason, "RESERVATION_EXPIRED");
  });

  test("reservations are listed newest first, live and ended together, over pages", async () => {
    await stockItem(scene, "listed", 50);
    const owner = `till-${randomUUID()}${"é".repeat(900)}`;
    const ids: string[] = [];
    for (let number = 0; number < 7; number += 1) {
      const request = reservationRequest({
        lines: [{ sku: "listed", quantity: 1 }],
        owner,
        reservationId: randomUUID(),
      });
      const { reservation } = await scene.api.createReservation(request, call);
      ids.unshift(reservation?.reservationId ?? "");
      const release = create(pb.ReleaseReservationRequestSchema, { reservationId: ids[0] ?? "" });
      if (number % 2) await scene.api.releaseReservation(release, call);
    }
    const listed: (string | undefined)[] = [];
    let pageToken = "";
    do {
      const request = create(pb.ListReservationsRequestSchema, { owner, pageSize: 3, pageToken });
      const page = await scene.api.listReservations(request, call);
      listed.push(...(page.reservations ?? []).map((reservation) => reservation.reservationId));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "");
    assert.deepEqual(listed, ids);
    const released = create(pb.ListReservationsRequestSchema, { owner, state: RELEASED });
    assert.equal((await scene.api.listReservations(released, call)).reservations?.length, 3);
  });

  test("tenants don't see each other", async () => {
    await stockItem(scene, "private", 5);
    const stranger = testCall({ caller: { tenant: "stranger", subject: "api" } });
    const { reservation } = await scene.api.createReservation(
      reservationRequest({ lines: [{ sku: "private", quantity: 1 }] }),
      call,
    );
    const { reservationId = "" } = reservation ?? {};
    const work = [
      () => scene.api.getReservation(create(pb.GetReservationRequestSchema, { reservationId }), stranger),
      () =>
        scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), stranger),
    ];
    for (const each of work) assert.equal((await refusal(each())).reason, "RESERVATION_NOT_FOUND");
    const stock = create(pb.GetStockRequestSchema, { sku: "private" });
    assert.equal((await refusal(scene.api.getStock(stock, stranger))).reason, "ITEM_NOT_FOUND");
  });
});
