import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { adjustRequest, countersOf, refusal, tenTimes } from "../testing/answers.ts";
import { createScene, reservationRequest, type Scene, stockItem } from "../testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

const call = testCall();

describe("stock", () => {
  before(async () => {
    await scene.api.createLocation(create(pb.CreateLocationRequestSchema, { locationId: "annex" }), call);
  });

  test("an adjustment is written to the ledger, and a repeated one is answered as it was", async () => {
    await stockItem(scene, "adjusted", 10);
    const request = adjustRequest("adjusted", 5, {
      reason: "count",
      reference: "C-1",
      requestId: randomUUID(),
    });
    const answer = await tenTimes(scene, (api) => api.adjustStock(request, call));
    const [movement] = answer.movements ?? [];
    assert.deepEqual(
      [movement?.onHandAfter, movement?.version, movement?.reason, movement?.reference],
      [15, 2n, "count", "C-1"],
    );
    await scene.api.adjustStock(adjustRequest("adjusted", -15), call);
    assert.deepEqual(await scene.api.adjustStock(request, call), answer);
    assert.deepEqual(await countersOf(scene, "adjusted"), [0, 0, 0]);
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
    assert.deepEqual(await countersOf(scene, "whole"), [5, 0, 5]);
    await adjust(changes(2));
    assert.deepEqual(await countersOf(scene, "whole"), [9, 0, 9]);
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
    assert.deepEqual(await countersOf(scene, "checked"), [3, 0, 3]);
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

  test("an archived item is neither reserved nor received; what was reserved ends as usual", async () => {
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
    assert.deepEqual(await countersOf(scene, "old"), [3, 0, 3]);
  });

  test("however many verify at once and however long it takes, stock is reserved meanwhile", async () => {
    await stockItem(scene, "busy", 5);
    const other = scene.another();
    const verifying: ReturnType<typeof refusal>[] = [];
    await other.sql.begin(async (tx) => {
      // What only a verification reads, so that all of them have to wait.
      await tx`lock table balances in access exclusive mode`;
      for (let count = 0; count < 20; count += 1) {
        const deadline = performance.now() + 2_000;
        const impatient = testCall({ deadline, isAbandoned: () => performance.now() >= deadline });
        const request = create(pb.VerifyStockRequestSchema, { skus: ["busy"] });
        verifying.push(refusal(scene.api.verifyStock(request, impatient)));
      }
      const lines = [{ sku: "busy", quantity: 2 }];
      const reserved = scene.api.createReservation(reservationRequest({ lines }), call);
      const late = AbortSignal.timeout(1_500);
      await reserved;
      assert.equal(late.aborted, false, "it waited for the verifications");
      // Still locked: each of them ends by its own deadline.
      for (const { reason } of await Promise.all(verifying)) assert.equal(reason, "DEADLINE_PASSED");
    });
    const again = await scene.api.verifyStock(create(pb.VerifyStockRequestSchema, { skus: ["busy"] }), call);
    assert.deepEqual([again.consistent, again.levelsChecked], [true, 1]);
  });
});
