import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { testCall } from "#libs/testing";
import { limits } from "../domain/limits.ts";
import { createRequest, createScene, type Scene } from "../testing/scene.ts";
import { deleteOldRequests } from "./requests.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
beforeEach(async () => {
  await scene.sql`truncate orders, order_lines, order_history, requests, nudges, outbox`;
});
after(async () => {
  await scene.drop();
});

const tidy = (limit: number = limits.tidyBatch) => deleteOldRequests(scene.sql, limits.requestsKeptMs, limit);

async function layDown(tenant: string, age: string): Promise<string> {
  const requestId = randomUUID();
  await scene.sql`
    insert into requests (tenant_id, request_id, request_hash, order_id, create_time)
    values (${tenant}, ${requestId}, '', ${randomUUID()}, now() - ${age}::interval)`;
  return requestId;
}

async function kept(): Promise<string[]> {
  const rows = await scene.sql<{ request_id: string }[]>`select request_id from requests`;
  return rows.map((row) => row.request_id).sort();
}

describe("old requests", () => {
  it("are forgotten after 7 days, of every tenant, and not a minute before", async () => {
    await layDown("a", "7 days 1 second");
    await layDown("b", "7 days 1 second");
    await layDown("a", "60 days");
    const young = [
      await layDown("a", "6 days 23 hours 59 minutes"),
      await layDown("b", "6 days 23 hours 59 minutes"),
      await layDown("b", "0 seconds"),
    ];
    assert.equal(await tidy(), 3);
    assert.deepEqual(await kept(), young.sort());
    assert.equal(await tidy(), 0);
    assert.deepEqual(await kept(), young);
  });

  it("go a bounded number at a time, until none is left", async () => {
    for (let count = 0; count < 5; count += 1) await layDown("a", "8 days");
    const young = await layDown("a", "1 day");
    const counts = [];
    for (let round = 0; round < 4; round += 1) counts.push(await tidy(2));
    assert.deepEqual(counts, [2, 2, 1, 0]);
    assert.deepEqual(await kept(), [young]);
  });

  it("go once, when two processes tidy at the same time", async () => {
    for (let count = 0; count < 50; count += 1) await layDown("a", "8 days");
    const other = scene.another();
    const counts = await Promise.all(
      [scene.sql, other.sql].map((sql) => deleteOldRequests(sql, limits.requestsKeptMs, 100)),
    );
    assert.equal((counts[0] ?? 0) + (counts[1] ?? 0), 50);
    assert.deepEqual(await kept(), []);
  });
});

it("a request is answered again for 7 days, and is a new one after that", async () => {
  const request = createRequest({ requestId: randomUUID() });
  const place = async () => (await scene.api.createOrder(request, testCall())).order?.orderId ?? "";
  const age = async (by: string) => {
    await scene.sql`update requests set create_time = create_time - ${by}::interval`;
  };
  const first = await place();
  await age("6 days 23 hours 59 minutes");
  assert.equal(await tidy(), 0);
  assert.equal(await place(), first);
  await age("1 minute");
  assert.equal(await tidy(), 1);
  const second = await place();
  assert.notEqual(second, first);
  assert.equal(await place(), second);
});
