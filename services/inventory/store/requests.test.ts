import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { testCall } from "#libs/testing";
import { adjustRequest, countersOf } from "../testing/answers.ts";
import { createScene, type Scene, stockItem } from "../testing/scene.ts";
import { deleteOldRequests } from "./requests.ts";

/** More than any test lays down. */
const MANY = 100;

let scene: Scene;
before(async () => {
  scene = await createScene();
});
beforeEach(async () => {
  await scene.sql`truncate requests`;
});
after(() => scene.drop());

async function layDown(tenant: string, age: string): Promise<string> {
  const requestId = randomUUID();
  await scene.sql`
    insert into requests (tenant_id, request_id, request_hash, resource, create_time)
    values (${tenant}, ${requestId}, '', 'tea', now() - ${age}::interval)`;
  return requestId;
}

async function kept(): Promise<string[]> {
  const rows = await scene.sql<{ request_id: string }[]>`
    select request_id
    from requests
    order by create_time`;
  return rows.map((row) => row.request_id);
}

describe("old requests", () => {
  test("are forgotten after 7 days, of every tenant, and not a minute before", async () => {
    await layDown("a", "7 days 1 second");
    await layDown("b", "7 days 1 second");
    await layDown("a", "60 days");
    const young = [
      await layDown("a", "6 days 23 hours 59 minutes"),
      await layDown("b", "6 days 23 hours 58 minutes"),
      await layDown("b", "0 seconds"),
    ];
    assert.equal(await deleteOldRequests(scene.sql, MANY), 3);
    assert.deepEqual(await kept(), young);
    assert.equal(await deleteOldRequests(scene.sql, MANY), 0);
    assert.deepEqual(await kept(), young);
  });

  test("go a bounded number at a time, the oldest first, until none is left", async () => {
    const old = [];
    for (const days of [12, 11, 10, 9, 8]) old.push(await layDown("a", `${days} days`));
    const young = await layDown("a", "1 day");
    for (const [gone, left] of [
      [2, [...old.slice(2), young]],
      [2, [...old.slice(4), young]],
      [1, [young]],
      [0, [young]],
    ] as const) {
      assert.equal(await deleteOldRequests(scene.sql, 2), gone);
      assert.deepEqual(await kept(), left);
    }
  });

  test("go once, when two processes tidy at the same time", async () => {
    for (let count = 0; count < 50; count += 1) await layDown("a", "8 days");
    const other = scene.another();
    const counts = await Promise.all([scene.sql, other.sql].map((sql) => deleteOldRequests(sql, MANY)));
    assert.equal((counts[0] ?? 0) + (counts[1] ?? 0), 50);
    assert.deepEqual(await kept(), []);
  });
});

test("an adjustment is answered again for 7 days, and is a new one after that", async () => {
  await stockItem(scene, "again", 0);
  const request = adjustRequest("again", 5, { requestId: randomUUID() });
  const adjust = () => scene.api.adjustStock(request, testCall());
  const age = async (by: string) => {
    await scene.sql`update requests set create_time = create_time - ${by}::interval`;
  };
  const first = await adjust();
  await age("6 days 23 hours 59 minutes");
  assert.equal(await deleteOldRequests(scene.sql, MANY), 0);
  assert.deepEqual(await adjust(), first);
  assert.deepEqual(await countersOf(scene, "again"), [5, 0, 5]);
  await age("1 minute");
  assert.equal(await deleteOldRequests(scene.sql, MANY), 1);
  const second = await adjust();
  assert.deepEqual(await countersOf(scene, "again"), [10, 0, 10]);
  assert.deepEqual(await adjust(), second);
  assert.deepEqual(await countersOf(scene, "again"), [10, 0, 10]);
});
