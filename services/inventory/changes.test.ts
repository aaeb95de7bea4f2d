import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import {
  CommitReservationRequestSchema,
  GetStockRequestSchema,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { ReserveOrdersRequestSchema } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
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

test("a reservation that can't be expired keeps no other from it", async () => {
  for (const sku of ["cedar", "elm"]) await stockItem(scene, sku, 100);
  for (const sku of ["cedar", "elm"]) {
    await scene.api.createReservation(reservationRequest({ lines: [{ sku, quantity: 1 }] }), testCall());
  }
  await scene.sql`update stock_levels set reserved = 0 where tenant_id = 'demo' and sku = 'cedar'`;
  await scene.sql`
    update reservations set expire_time = now() - interval '1 hour' where expire_time is not null`;
  await scene.expiry.sweep();
  assert.equal(await reserved("elm"), 0);
  const [left] = await scene.sql`select count(*)::int as count from reservations where expire_time < now()`;
  assert.equal(left?.["count"], 2, "the damaged ones are still there");
});

test("an order whose rows are damaged is told so alone; the others of its call are reserved", async () => {
  for (const sku of ["fir", "gum"]) await stockItem(scene, sku, 10);
  await scene.sql`
    alter table stock_levels drop constraint stock_reserved_not_above_on_hand`;
  await scene.sql`update stock_levels set reserved = -5 where tenant_id = 'demo' and sku = 'fir'`;
  const orders = ["fir", "gum"].map((sku) => ({ orderId: randomUUID(), lines: [{ sku, quantity: 1 }] }));
  const { results = [] } = await scene.orders.reserveOrders(
    create(ReserveOrdersRequestSchema, { orders }),
    testCall(),
  );
  assert.deepEqual(
    results.map(({ refusal }) => refusal?.reason),
    ["INTERNAL_ERROR", undefined],
  );
  assert.equal(await reserved("gum"), 1);
});
