import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { names, uuidv7 } from "#libs/db";
import { testCall } from "#libs/testing";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { assertConsistent, countersOf, refusal } from "../testing/answers.ts";
import { createScene, ordersRequest, reservationRequest, type Scene, stockItem } from "../testing/scene.ts";
import { deleteOldNudges, retireTombstones } from "./upkeep.ts";

/** More than any test lays down. */
const MANY = 100;
const DAY_MS = 86_400_000;

let scene: Scene;
before(async () => {
  scene = await createScene();
});
beforeEach(async () => {
  await scene.sql`truncate reservations, ended_reservations, nudges`;
});
after(() => scene.drop());

const release = (reservationId: string) =>
  scene.changes.reservation("demo", { kind: "release", reservationId, party: "order" });

/** Releases an order's reservation that never was, so long ago; returns its id. */
async function bury(age: string, reservationId: string = randomUUID()): Promise<string> {
  assert.equal((await release(reservationId)).state, "RELEASED");
  await scene.sql`
    update reservations
    set
      create_time = create_time - ${age}::interval,
      end_time = end_time - ${age}::interval
    where reservation_id = ${reservationId}`;
  return reservationId;
}

async function tombstones(): Promise<string[]> {
  const rows = await scene.sql<{ reservation_id: string }[]>`
    select reservation_id
    from reservations
    where state = 'RELEASED'
    order by end_time`;
  return rows.map((row) => row.reservation_id);
}

async function ended(): Promise<string[]> {
  const rows = await scene.sql<{ reservation_id: string }[]>`
    select reservation_id
    from ended_reservations
    order by end_time`;
  return rows.map((row) => row.reservation_id);
}

describe("tombstones", () => {
  test("are retired after a day as they are, and not a minute before", async () => {
    const old = [await bury("9 days"), await bury("1 day 1 second")];
    const young = [await bury("23 hours 59 minutes"), await bury("0 seconds")];
    const rowsOf = (ids: readonly string[]) => scene.sql`
      select reservation.*
      from (
        select tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
        from reservations
        union all
        select tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
        from ended_reservations
      ) as reservation
      where reservation_id = any(${names(ids)}::uuid[])
      order by end_time`;
    const rows = [...(await rowsOf(old))];
    assert.equal(await retireTombstones(scene.sql, MANY), 2);
    for (const _ of [1, 2]) {
      assert.deepEqual(await tombstones(), young);
      assert.deepEqual(await ended(), old);
      assert.deepEqual([...(await rowsOf(old))], rows);
      assert.equal(await retireTombstones(scene.sql, MANY), 0);
    }
  });

  test("go a bounded number at a time, the oldest first, until none is left", async () => {
    const old = [];
    for (const days of [7, 6, 5, 4, 3]) old.push(await bury(`${days} days`));
    for (const [gone, inAll] of [
      [2, 2],
      [2, 4],
      [1, 5],
      [0, 5],
    ] as const) {
      assert.equal(await retireTombstones(scene.sql, 2), gone);
      assert.deepEqual(await ended(), old.slice(0, inAll));
      assert.deepEqual(await tombstones(), old.slice(inAll));
    }
  });

  test("go once, when two processes retire them at the same time", async () => {
    const old = [];
    for (let count = 50; count > 0; count -= 1) old.push(await bury(`1 day ${count} minutes`));
    const counts = await Promise.all(
      [scene.sql, scene.another().sql].map((sql) => retireTombstones(sql, MANY)),
    );
    assert.equal((counts[0] ?? 0) + (counts[1] ?? 0), 50);
    assert.deepEqual(await tombstones(), []);
    assert.deepEqual(await ended(), old);
  });

  test("leave a live reservation alone, however old it is", async () => {
    await stockItem(scene, "live", 5);
    const orderId = randomUUID();
    await scene.orders.reserveOrders(ordersRequest([orderId], "live", 2), testCall());
    await scene.sql`update reservations set create_time = create_time - interval '9 days'`;
    assert.equal(await retireTombstones(scene.sql, MANY), 0);
    assert.deepEqual(await countersOf(scene, "live"), [5, 2, 3]);
    await release(orderId);
    await assertConsistent(scene);
  });
});

describe("a create that comes late", () => {
  // Where one that has ended is looked for depends on the time in its id, which is before its release.
  for (const [kind, orderId] of [
    ["an id that tells its time", uuidv7(Date.now() - 2 * DAY_MS)],
    ["a random id", randomUUID()],
  ] as const) {
    test(`takes nothing under ${kind}, whether its tombstone is there or was retired`, async () => {
      const sku = `late-${orderId}`;
      await stockItem(scene, sku, 5);
      await bury("1 day 1 second", orderId);
      const createLate = async () => {
        const { results } = await scene.orders.reserveOrders(ordersRequest([orderId], sku, 2), testCall());
        assert.equal(results?.[0]?.state, Reservation_State.RELEASED);
        const direct = reservationRequest({ reservationId: orderId, lines: [{ sku, quantity: 2 }] });
        const refused = await refusal(scene.api.createReservation(direct, testCall()));
        assert.equal(refused.reason, "RESERVATION_EXISTS");
        assert.equal((await release(orderId)).state, "RELEASED");
        assert.deepEqual(await countersOf(scene, sku), [5, 0, 5]);
      };
      await createLate();
      assert.deepEqual(await tombstones(), [orderId]);
      assert.equal(await retireTombstones(scene.sql, MANY), 1);
      for (const _ of [1, 2]) {
        await createLate();
        assert.deepEqual(await tombstones(), []);
        assert.deepEqual(await ended(), [orderId]);
      }
      await assertConsistent(scene);
    });
  }

  test("takes nothing, even while its tombstone is being retired", async () => {
    await stockItem(scene, "meanwhile", 100);
    const orderIds = [];
    for (let count = 0; count < 50; count += 1) orderIds.push(await bury("1 day 1 second"));
    const [{ results }] = await Promise.all([
      scene.orders.reserveOrders(ordersRequest(orderIds, "meanwhile"), testCall()),
      retireTombstones(scene.sql, MANY),
      retireTombstones(scene.another().sql, MANY),
    ]);
    assert.equal(results?.length, 50);
    for (const { state } of results ?? []) assert.equal(state, Reservation_State.RELEASED);
    assert.deepEqual(await countersOf(scene, "meanwhile"), [100, 0, 100]);
  });
});

describe("old nudges", () => {
  async function layDown(tenant: string, age: string): Promise<number> {
    const [row] = await scene.sql<{ due_second: Date }[]>`
      insert into nudges (tenant_id, due_second)
      values (${tenant}, date_trunc('second', now() - ${age}::interval))
      returning due_second`;
    assert.ok(row);
    return row.due_second.getTime();
  }

  async function kept(): Promise<number[]> {
    const rows = await scene.sql<{ due_second: Date }[]>`
      select due_second
      from nudges
      order by due_second`;
    return rows.map((row) => row.due_second.getTime());
  }

  test("are forgotten a day after their second, of every tenant, and not a minute before", async () => {
    await layDown("a", "1 day 1 second");
    await layDown("b", "1 day 1 second");
    await layDown("a", "30 days");
    const young = [
      await layDown("a", "23 hours 59 minutes"),
      await layDown("b", "23 hours 58 minutes"),
      await layDown("a", "0 seconds"),
      await layDown("a", "-1 day"),
    ];
    assert.equal(await deleteOldNudges(scene.sql, MANY), 3);
    assert.deepEqual(await kept(), young);
    assert.equal(await deleteOldNudges(scene.sql, MANY), 0);
    assert.deepEqual(await kept(), young);
  });

  test("go a bounded number at a time, the oldest first, until none is left", async () => {
    const old = [];
    for (const days of [6, 5, 4, 3, 2]) old.push(await layDown("a", `${days} days`));
    for (const [gone, left] of [
      [2, old.slice(2)],
      [2, old.slice(4)],
      [1, []],
      [0, []],
    ] as const) {
      assert.equal(await deleteOldNudges(scene.sql, 2), gone);
      assert.deepEqual(await kept(), left);
    }
  });
});
