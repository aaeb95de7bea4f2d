import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { adjustRequest, assertConsistent } from "../testing/answers.ts";
import { createScene, reservationRequest, type Scene, stockItem } from "../testing/scene.ts";
import { until } from "../testing/until.ts";
import { archive } from "./archive.ts";
import { ensurePartitions, listPartitions } from "./partitions.ts";
import { verifyStock } from "./verify.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(() => scene.drop());

/** An item with four movements, two of them of one reservation that is live. */
async function liveItem(sku: string): Promise<void> {
  await stockItem(scene, sku, 10);
  const lines = [{ sku, quantity: 2 }];
  const { reservation } = await scene.api.createReservation(reservationRequest({ lines }), testCall());
  await scene.api.createReservation(reservationRequest({ lines }), testCall());
  const { reservationId = "" } = reservation ?? {};
  await scene.api.commitReservation(create(pb.CommitReservationRequestSchema, { reservationId }), testCall());
}

async function differencesOf(sku: string) {
  const { differences } = await verifyStock(scene.sql, "demo", [sku]);
  return differences.map(({ type, version }) => [type, version]);
}

describe("what was tampered with is found, with the first row that disagrees", () => {
  // What is done to the item behind the service's back, and what must be told of it.
  const cases: [string, (sku: string) => Promise<unknown>, [string, number]][] = [
    [
      "a missing movement",
      (sku) => scene.sql`delete from movements where sku = ${sku} and version = 2`,
      ["CHAIN_GAP", 3],
    ],
    [
      "a missing first movement",
      (sku) => scene.sql`delete from movements where sku = ${sku} and version = 1`,
      ["CHAIN_GAP", 2],
    ],
    [
      "a changed delta",
      (sku) => scene.sql`update movements set on_hand_delta = 11 where sku = ${sku} and version = 1`,
      ["CHAIN_BREAK", 1],
    ],
    [
      "a changed counter of the ledger",
      (sku) => scene.sql`update movements set reserved_after = 3 where sku = ${sku} and version = 3`,
      ["CHAIN_BREAK", 3],
    ],
    [
      "a missing last movement",
      (sku) => scene.sql`delete from movements where sku = ${sku} and version = 4`,
      ["LEVEL", 4],
    ],
    [
      "a changed level",
      (sku) => scene.sql`update stock_levels set on_hand = 9 where sku = ${sku}`,
      ["LEVEL", 4],
    ],
    ["a lost level", (sku) => scene.sql`delete from stock_levels where sku = ${sku}`, ["LEVEL", 0]],
    [
      "a lost line",
      (sku) => scene.sql`delete from reservation_lines where sku = ${sku}`,
      ["RESERVATIONS", 4],
    ],
    [
      "a changed line",
      (sku) => scene.sql`update reservation_lines set quantity = 1 where sku = ${sku}`,
      ["RESERVATIONS", 4],
    ],
  ];
  for (const [name, tamper, expected] of cases) {
    test(name, async () => {
      const sku = name.replaceAll(" ", "-");
      await liveItem(sku);
      assert.deepEqual(await differencesOf(sku), []);
      await tamper(sku);
      assert.deepEqual(await differencesOf(sku), [expected]);
    });
  }

  test("the database itself refuses more reserved than on hand", async () => {
    await liveItem("refused");
    const above = scene.sql`update stock_levels set reserved = on_hand + 1 where sku = 'refused'`;
    await assert.rejects(above, /stock_reserved_not_above_on_hand/);
  });
});

describe("old months", () => {
  let old: Scene;
  before(async () => {
    old = await createScene();
  });
  after(() => old.drop());

  test("partitions are made ahead, once, by however many instances at a time", async () => {
    await old.sql`alter table movements detach partition ${old.sql((await lastPartition()).name)}`;
    await old.sql`drop table ${old.sql((await standingAlone()).name)}`;
    const made = await Promise.all(
      [old, old.another(), old.another()].map(({ sql }) => ensurePartitions(sql)),
    );
    assert.equal(new Set(made.flat()).size, 1);
    assert.deepEqual(await ensurePartitions(old.sql), []);
  });

  test("a month whose taking out was broken off is finished by the next run", async () => {
    await old.sql.begin(async (reader) => {
      await reader`select from movements`;
      const archiving = assert.rejects(archive(old.sql, 0), /canceling statement/);
      await until(async () => {
        const cancelled = await old.another().sql`
          select pg_cancel_backend(pid)
          from pg_stat_activity
          where datname = current_database()
            and query like 'alter table movements detach%'
            and wait_event_type = 'Lock'`;
        return cancelled.count === 1;
      });
      await archiving;
    });
    const halfDetached = (await listPartitions(old.sql)).filter(({ isHalfDetached }) => isHalfDetached);
    assert.equal(halfDetached.length, 1);
    const { detached } = await archive(old.sql, 0);
    assert.deepEqual(
      detached,
      halfDetached.map(({ name }) => name),
    );
    await ensurePartitions(old.sql);
  });

  test("they are taken out of use, and the ledger still agrees from what they came to", async () => {
    await stockItem(old, "aged", 10);
    await old.api.adjustStock(adjustRequest("aged", 5), testCall());
    const lines = [{ sku: "aged", quantity: 2 }];
    await old.api.createReservation(reservationRequest({ lines }), testCall());
    // The first two movements become a month older, in the partition behind this month's.
    const [behind] = await listPartitions(old.sql);
    assert.ok(behind);
    const aged = new Date(behind.to.getTime() - 60_000);
    await old.sql`update movements set create_time = ${aged} where sku = 'aged' and version <= 2`;
    const earlier = await verifyStock(old.sql, "demo", []);
    const { detached } = await archive(old.sql, 0);
    assert.ok(detached.some((name) => name.startsWith("movements_")));
    assert.deepEqual(await verifyStock(old.sql, "demo", []), earlier);
    await assertConsistent(old);
    const { movements } = await old.api.listMovements(
      create(pb.ListMovementsRequestSchema, { sku: "aged" }),
      testCall(),
    );
    assert.deepEqual(
      movements?.map((movement) => movement.version),
      [3n],
    );
    await old.sql`update balances set on_hand_after = 14 where sku = 'aged'`;
    const { differences } = await verifyStock(old.sql, "demo", []);
    assert.deepEqual(
      differences.map(({ type, version }) => [type, version]),
      [["CHAIN_BREAK", 3]],
    );
  });

  test("a ledger that does not agree is left as it is", async () => {
    await ensurePartitions(old.sql);
    await assert.rejects(archive(old.sql, 0), /disagrees at aged in main, version 3: CHAIN_BREAK/);
  });

  async function lastPartition() {
    const last = (await listPartitions(old.sql)).filter(({ table }) => table === "movements").at(-1);
    assert.ok(last);
    return last;
  }

  async function standingAlone() {
    const [row] = await old.sql<{ name: string }[]>`
      select relname as name
      from pg_class
      where relname like 'movements_2%'
        and relkind = 'r'
        and not relispartition`;
    assert.ok(row);
    return row;
  }
});
