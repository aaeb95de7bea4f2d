import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { refusal, tenTimes } from "../testing/answers.ts";
import { createScene, type Scene } from "../testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

const call = testCall();

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

  test("items are listed by sku while others are made; a token is bound to its filter", async () => {
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
    assert.equal(third.nextPageToken, "", "a last page that is full is the last all the same");
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

  test("a request sent ten times at once takes effect once and is answered alike", async () => {
    const requestId = randomUUID().toUpperCase();
    const make = create(pb.CreateItemRequestSchema, { sku: "ten", requestId });
    await tenTimes(scene, (api) => api.createItem(make, call));
    const other = create(pb.CreateItemRequestSchema, { sku: "ten", displayName: "Ten", requestId });
    assert.equal((await refusal(scene.api.createItem(other, call))).reason, "REQUEST_ID_REUSED");
    const update = create(pb.UpdateItemRequestSchema, {
      sku: "ten",
      displayName: "10",
      requestId: randomUUID(),
    });
    await tenTimes(scene, (api) => api.updateItem(update, call));
    const archive = create(pb.ArchiveItemRequestSchema, { sku: "ten", requestId: randomUUID() });
    await tenTimes(scene, (api) => api.archiveItem(archive, call));
    const place = create(pb.CreateLocationRequestSchema, { locationId: "ten", requestId: randomUUID() });
    await tenTimes(scene, (api) => api.createLocation(place, call));
  });
});
