import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { DomainError } from "#libs/reasons";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { createScene, ordersRequest, reservationRequest, type Scene, stockItem } from "./testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

const call = testCall();
const { ACTIVE, COMMITTED, EXPIRED, RELEASED } = pb.Reservation_State;

function reasonOf(error: unknown): string {
  return error instanceof DomainError ? error.reason : String(error);
}

async function refusal(work: Promise<unknown>): Promise<DomainError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

async function stockOf(sku: string) {
  const { stock } = await scene.api.getStock(create(pb.GetStockRequestSchema, { sku }), call);
  return [stock?.onHand, stock?.reserved, stock?.available];
}

async function assertConsistent(): Promise<void> {
  const verified = await scene.api.verifyStock(create(pb.VerifyStockRequestSchema), call);
  assert.deepEqual(verified.differences, []);
  assert.equal(verified.consistent, true);
}

function adjustRequest(
  sku: string,
  delta: number,
  fields: MessageInitShape<typeof pb.AdjustStockRequestSchema> = {},
) {
  return create(pb.AdjustStockRequestSchema, { ...fields, changes: [{ sku, delta }] });
}

/** Sends the same request ten times at once, to two instances, and expects one effect and ten equal answers. */
async function tenTimes<Answer>(send: (api: Scene["api"]) => Promise<Answer>): Promise<Answer> {
  const apis = [scene.api, scene.another().api];
  const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => send(apis[at % 2] ?? scene.api)));
  const [first] = answers;
  assert.ok(first);
  for (const answer of answers) assert.deepEqual(answer, first);
  return first;
}

describe("items and locations", () => {
  test("an item is made once, read, changed and archived", async () => {
    const request = create(pb.CreateItemRequestSchema, { sku: "cup", displayName: "Cup", reorderPoint: 3 });
    const { item } = await scene.api.createItem(request, call);
    assert.deepEqual([item?.sku, item?.displayName, item?.reorderPoint, item?.state], ["cup", "Cup", 3, 1]);
    assert.equal((await refusal(scene.api.createItem(request, call))).reason, "ITEM_EXISTS");
    const update = create(pb.UpdateItemRequestSchema, { sku: "cup", reorderPoint: 5 });
    const updated = await scene.api.updateItem(update, call);
    assert.deepEqual([updated.item?.displayName, updated.item?.reorderPoint], ["Cup", 5]);
    const archive = create(pb.ArchiveItemRequestSchema, { sku: "cup" });
    const archived = await scene.api.archiveItem(archive, call);
    assert.equal(archived.item?.state, pb.Item_State.ARCHIVED);
    assert.deepEqual(await scene.api.archiveItem(archive, call), archived);
    assert.equal((await refusal(scene.api.updateItem(update, call))).reason, "ITEM_ARCHIVED");
    const unknown = { sku: "nothing" };
    for (const work of [
      () => scene.api.getItem(create(pb.GetItemRequestSchema, unknown), call),
      () => scene.api.updateItem(create(pb.UpdateItemRequestSchema, unknown), call),
      () => scene.api.archiveItem(create(pb.ArchiveItemRequestSchema, unknown), call),
      () => scene.api.getStock(create(pb.GetStockRequestSchema, unknown), call),
      () => scene.api.explainStock(create(pb.ExplainStockRequestSchema, unknown), call),
      () => scene.api.listMovements(create(pb.ListMovementsRequestSchema, unknown), call),
    ]) {
      assert.equal((await refusal(work())).reason, "ITEM_NOT_FOUND");
    }
  });

  test("items are listed by sku over pages, also while others are made, and a token is bound to its filter", async () => {
    const tenant = testCall({ caller: { tenant: "lists", subject: "api" } });
    for (const sku of ["b", "d", "a", "B", "e"]) {
      await scene.api.createItem(create(pb.CreateItemRequestSchema, { sku }), tenant);
    }
    const page = (pageToken: string, state: pb.Item_State = pb.Item_State.STATE_UNSPECIFIED) =>
      scene.api.listItems(create(pb.ListItemsRequestSchema, { pageSize: 2, pageToken, state }), tenant);
    const first = await page("");
    await scene.api.createItem(create(pb.CreateItemRequestSchema, { sku: "A" }), tenant);
    await scene.api.createItem(create(pb.CreateItemRequestSchema, { sku: "c" }), tenant);
    const second = await page(first.nextPageToken ?? "");
    const third = await page(second.nextPageToken ?? "");
    const skus = [first, second, third].map((each) => each.items?.map((item) => item.sku));
    assert.deepEqual(skus, [
      ["B", "a"],
      ["b", "c"],
      ["d", "e"],
    ]);
    assert.equal(
      (await refusal(page(first.nextPageToken ?? "", pb.Item_State.ACTIVE))).reason,
      "INVALID_FIELD",
    );
    const { locations } = await scene.api.listLocations(create(pb.ListLocationsRequestSchema), tenant);
    assert.deepEqual(
      locations?.map((location) => location.locationId),
      ["main"],
    );
  });

  test("a location is made once, and main is there from the start", async () => {
    const location = (locationId: string) =>
      scene.api.createLocation(create(pb.CreateLocationRequestSchema, { locationId }), call);
    await location("annex");
    for (const taken of ["annex", "main"])
      assert.equal((await refusal(location(taken))).reason, "LOCATION_EXISTS");
  });

  test("each of these requests, sent ten times at once, takes effect once and is answered alike", async () => {
    const requestId = randomUUID().toUpperCase();
    const make = create(pb.CreateItemRequestSchema, { sku: "ten", requestId });
    await tenTimes((api) => api.createItem(make, call));
    const other = create(pb.CreateItemRequestSchema, { sku: "ten", displayName: "Ten", requestId });
    assert.equal((await refusal(scene.api.createItem(other, call))).reason, "REQUEST_ID_REUSED");
    const update = create(pb.UpdateItemRequestSchema, {
      sku: "ten",
      displayName: "10",
      requestId: randomUUID(),
    });
    await tenTimes((api) => api.updateItem(update, call));
    const archive = create(pb.ArchiveItemRequestSchema, { sku: "ten", requestId: randomUUID() });
    await tenTimes((api) => api.archiveItem(archive, call));
    const place = create(pb.CreateLocationRequestSchema, { locationId: "ten", requestId: randomUUID() });
    await tenTimes((api) => api.createLocation(place, call));
  });
});

describe("stock", () => {
  test("an adjustment is written to the ledger, and a repeated one is answered as it was", async () => {
    await stockItem(scene, "adjusted", 10);
    const request = adjustRequest("adjusted", 5, {
      reason: "count",
      reference: "C-1",
      requestId: randomUUID(),
    });
    const answer = await tenTimes((api) => api.adjustStock(request, call));
    const [movement] = answer.movements ?? [];
    assert.deepEqual(
      [movement?.onHandAfter, movement?.version, movement?.reason, movement?.reference],
      [15, 2n, "count", "C-1"],
    );
    await scene.api.adjustStock(adjustRequest("adjusted", -15), call);
    assert.deepEqual(await scene.api.adjustStock(request, call), answer);
    assert.deepEqual(await stockOf("adjusted"), [0, 0, 0]);
    const ledger = await scene.api.listMovements(
      create(pb.ListMovementsRequestSchema, { sku: "adjusted" }),
      call,
    );
    assert.deepEqual(
      ledger.movements?.map((each) => each.onHandDelta),
      [-15, 5, 10],
    );
  });

  test("an adjustment of several places happens whole or not at all", async () => {
    await stockItem(scene, "whole", 5);
    const changes = (delta: number, sku = "whole") => [
      { sku, delta },
      { sku: "whole", locationId: "annex", delta },
    ];
    const adjust = (list: ReturnType<typeof changes>) =>
      scene.api.adjustStock(create(pb.AdjustStockRequestSchema, { changes: list }), call);
    assert.equal((await refusal(adjust(changes(-1)))).reason, "STOCK_RESERVED");
    const unknown = await refusal(adjust(changes(1, "nothing")));
    assert.deepEqual([unknown.reason, unknown.data.fields?.[0]?.field], ["ITEM_NOT_FOUND", "changes[0].sku"]);
    assert.deepEqual(await stockOf("whole"), [5, 0, 5]);
    await adjust(changes(2));
    assert.deepEqual(await stockOf("whole"), [9, 0, 9]);
    const nowhere = create(pb.AdjustStockRequestSchema, {
      changes: [{ sku: "whole", locationId: "moon", delta: 1 }],
    });
    assert.equal((await refusal(scene.api.adjustStock(nowhere, call))).reason, "LOCATION_NOT_FOUND");
  });

  test("a check tells each line and changes nothing", async () => {
    await stockItem(scene, "checked", 3);
    const check = (lines: { sku: string; quantity: number; locationId?: string }[]) =>
      scene.api.checkStock(create(pb.CheckStockRequestSchema, { lines }), call);
    const two = await check([
      { sku: "checked", quantity: 2 },
      { sku: "checked", quantity: 2 },
      { sku: "checked", quantity: 1, locationId: "annex" },
    ]);
    assert.equal(two.sufficient, false);
    assert.deepEqual(
      two.lines?.map((line) => [line.locationId, line.requested, line.available, line.sufficient]),
      [
        ["annex", 1, 0, false],
        ["main", 4, 3, false],
      ],
    );
    assert.equal((await check([{ sku: "checked", quantity: 3 }])).sufficient, true);
    assert.equal((await refusal(check([{ sku: "nothing", quantity: 3 }]))).reason, "ITEM_NOT_FOUND");
    assert.deepEqual(await stockOf("checked"), [3, 0, 3]);
  });

  test("stock is listed by sku, of those asked for, over pages", async () => {
    for (const sku of ["list-1", "list-2", "list-3"]) await stockItem(scene, sku, 1);
    const skus = ["list-3", "nothing", "list-1", "list-2"];
    const page = (pageToken: string) =>
      scene.api.listStock(create(pb.ListStockRequestSchema, { skus, pageSize: 2, pageToken }), call);
    const first = await page("");
    const second = await page(first.nextPageToken ?? "");
    assert.deepEqual(
      [first, second].map((each) => each.stock?.map((one) => [one.sku, one.onHand])),
      [
        [
          ["list-1", 1],
          ["list-2", 1],
        ],
        [["list-3", 1]],
      ],
    );
    assert.equal(second.nextPageToken, "");
  });

  test("an explanation names who has what, and its numbers belong together", async () => {
    await stockItem(scene, "explained", 10);
    const ids = [];
    for (const quantity of [1, 2, 3]) {
      const request = reservationRequest({
        lines: [{ sku: "explained", quantity }],
        owner: `till-${quantity}`,
      });
      ids.push((await scene.api.createReservation(request, call)).reservation?.reservationId);
    }
    const page = (pageToken: string) =>
      scene.api.explainStock(
        create(pb.ExplainStockRequestSchema, { sku: "explained", pageSize: 2, pageToken }),
        call,
      );
    const first = await page("");
    const second = await page(first.nextPageToken ?? "");
    const holders = [...(first.holders ?? []), ...(second.holders ?? [])];
    assert.deepEqual(
      holders.map((holder) => [holder.reservationId, holder.owner, holder.quantity]),
      [
        [ids[0], "till-1", 1],
        [ids[1], "till-2", 2],
        [ids[2], "till-3", 3],
      ],
    );
    assert.deepEqual([first.holderCount, first.stock?.reserved, first.recentMovements?.length], [3, 6, 4]);
  });

  test("the ledger is listed newest first over all locations, stable while it grows", async () => {
    await stockItem(scene, "ledger", 5);
    const adjust = (locationId: string, delta: number) =>
      scene.api.adjustStock(
        create(pb.AdjustStockRequestSchema, { changes: [{ sku: "ledger", locationId, delta }] }),
        call,
      );
    for (let delta = 1; delta <= 6; delta += 1) await adjust(delta % 2 ? "annex" : "main", delta);
    const deltas: (number | undefined)[] = [];
    let pageToken = "";
    do {
      const request = create(pb.ListMovementsRequestSchema, { sku: "ledger", pageSize: 2, pageToken });
      const page = await scene.api.listMovements(request, call);
      deltas.push(...(page.movements ?? []).map((movement) => movement.onHandDelta));
      pageToken = page.nextPageToken ?? "";
      await adjust("main", 100);
    } while (pageToken !== "");
    assert.deepEqual(deltas, [6, 5, 4, 3, 2, 1, 5]);
    const request = create(pb.ListMovementsRequestSchema, { sku: "ledger", locationId: "annex" });
    const { movements } = await scene.api.listMovements(request, call);
    assert.deepEqual(
      movements?.map((movement) => movement.onHandDelta),
      [5, 3, 1],
    );
  });

  test("nothing new is reserved or received of an archived item, and what was reserved ends as it would have", async () => {
    await stockItem(scene, "old", 5);
    const lines = [{ sku: "old", quantity: 2 }];
    const { reservation } = await scene.api.createReservation(reservationRequest({ lines }), call);
    await scene.api.archiveItem(create(pb.ArchiveItemRequestSchema, { sku: "old" }), call);
    const refused = await refusal(scene.api.createReservation(reservationRequest({ lines }), call));
    assert.deepEqual([refused.reason, refused.data.fields?.[0]?.field], ["ITEM_ARCHIVED", "lines[0].sku"]);
    assert.equal(
      (await refusal(scene.api.adjustStock(adjustRequest("old", 1), call))).reason,
      "ITEM_ARCHIVED",
    );
    const { reservationId = "" } = reservation ?? {};
    await scene.api.commitReservation(create(pb.CommitReservationRequestSchema, { reservationId }), call);
    assert.deepEqual(await stockOf("old"), [3, 0, 3]);
  });
});

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
    const [before, later] = [expireTime, extended.reservation?.expireTime].map((time) =>
      Number(time?.seconds),
    );
    assert.ok(before !== undefined && later !== undefined && later > before + 2_000);
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
    const { reservation } = await tenTimes((api) => api.createReservation(request, call));
    assert.deepEqual(await stockOf("ten-times"), [100, 3, 97]);
    const { reservationId = "" } = reservation ?? {};
    const extend = create(pb.ExtendReservationRequestSchema, {
      reservationId,
      ttl: { seconds: 3_600n },
      requestId: randomUUID(),
    });
    await tenTimes((api) => api.extendReservation(extend, call));
    const commit = create(pb.CommitReservationRequestSchema, { reservationId, requestId: randomUUID() });
    await tenTimes((api) => api.commitReservation(commit, call));
    assert.deepEqual(await stockOf("ten-times"), [97, 0, 97]);
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
    await tenTimes((api) => api.releaseReservation(release, call));
    const reused = { ...commit, requestId: request.requestId };
    assert.equal((await refusal(scene.api.commitReservation(reused, call))).reason, "REQUEST_ID_REUSED");
    await assertConsistent();
  });

  test("a request that was refused without effect is judged anew", async () => {
    await stockItem(scene, "anew", 0);
    const request = reservationRequest({ lines: [{ sku: "anew", quantity: 1 }], requestId: randomUUID() });
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "INSUFFICIENT_STOCK");
    await scene.api.adjustStock(adjustRequest("anew", 1), call);
    assert.equal((await scene.api.createReservation(request, call)).reservation?.state, ACTIVE);
  });

  test("an id that is taken is refused, live or ended, and a validation only judges", async () => {
    await stockItem(scene, "taken", 5);
    const lines = [{ sku: "taken", quantity: 1 }];
    const reservationId = randomUUID().toUpperCase();
    const validate = reservationRequest({ lines, reservationId, validateOnly: true });
    const judged = await scene.api.createReservation(validate, call);
    assert.equal(judged.reservation?.reservationId, reservationId.toLowerCase());
    assert.deepEqual(await stockOf("taken"), [5, 0, 5]);
    const request = reservationRequest({ lines, reservationId });
    await scene.api.createReservation(request, call);
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "RESERVATION_EXISTS");
    await scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), call);
    assert.equal((await refusal(scene.api.createReservation(request, call))).reason, "RESERVATION_EXISTS");
  });

  test("a reservation past its time reads EXPIRED everywhere, and can't be committed or extended", async () => {
    await stockItem(scene, "late", 5);
    const lines = [{ sku: "late", quantity: 1 }];
    const owner = "till-late";
    const { reservation } = await scene.api.createReservation(reservationRequest({ lines, owner }), call);
    const { reservationId = "" } = reservation ?? {};
    await scene.sql`
      update reservations set expire_time = now() - interval '1 minute' where reservation_id = ${reservationId}`;
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
    assert.deepEqual(await stockOf("late"), [5, 1, 4]);
    const extend = create(pb.ExtendReservationRequestSchema, { reservationId, ttl: { seconds: 60n } });
    assert.equal((await refusal(scene.api.extendReservation(extend, call))).reason, "RESERVATION_EXPIRED");
    assert.deepEqual(await stockOf("late"), [5, 0, 5], "whoever touches it, expires it");
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
      () => scene.api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId }), stranger),
    ];
    for (const each of work) assert.equal((await refusal(each())).reason, "RESERVATION_NOT_FOUND");
    const stock = create(pb.GetStockRequestSchema, { sku: "private" });
    assert.equal((await refusal(scene.api.getStock(stock, stranger))).reason, "ITEM_NOT_FOUND");
  });
});

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
    assert.deepEqual(await stockOf("ordered"), [3, 0, 3]);
    await end("commit", first);
    await end("release", second);
    await assert.rejects(end("release", first), (error) => reasonOf(error) === "RESERVATION_COMMITTED");
    await assert.rejects(end("commit", second), (error) => reasonOf(error) === "RESERVATION_RELEASED");
    await assertConsistent();
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
      () => scene.api.extendReservation(
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
