import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import {
  CommitReservationRequestSchema,
  GetStockRequestSchema,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { createScene, reservationRequest, type Scene, stockItem } from "./testing/scene.ts";

let scene: Scene;

before(async () => {
  scene = await createScene();
});

after(async () => {
  await scene.drop();
});

async function reserved(sku: string): Promise<number | undefined> {
  const { stock } = await scene.api.getStock(create(GetStockRequestSchema, { sku }), testCall());
  return stock?.reserved;
}

test("a call on damaged rows fails alone, nothing half done; its neighbours take effect", async () => {
  for (const sku of ["ash", "birch"]) await stockItem(scene, sku, 100);
  const both = ["ash", "birch"].map((sku) => ({ sku, quantity: 2 }));
  const damaged = randomUUID();
  const sound = Array.from({ length: 5 }, () => randomUUID());
  for (const reservationId of [damaged, ...sound]) {
    const lines = reservationId === damaged ? both : [{ sku: "ash", quantity: 1 }];
    await scene.api.createReservation(reservationRequest({ reservationId, lines }), testCall());
  }
  // Somebody's hand has been at the counters: the second line of the damaged one can't be taken back.
  await scene.sql`update stock_levels set reserved = 0 where tenant_id = 'demo' and sku = 'birch'`;

  const commits = await Promise.allSettled(
    [...sound.slice(0, 2), damaged, ...sound.slice(2)].map((reservationId) =>
      scene.api.commitReservation(create(CommitReservationRequestSchema, { reservationId }), testCall()),
    ),
  );
  assert.deepEqual(
    commits.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled"],
  );
  assert.equal(await reserved("ash"), 2, "the damaged reservation still has its first line");
  const movements = await scene.sql`
    select 1 from movements where tenant_id = 'demo' and cause = ${damaged} and type = 'COMMIT'`;
  assert.equal(movements.length, 0);
});
