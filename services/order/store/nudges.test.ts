import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import type { OutboxMessage } from "#libs/events";
import { limits } from "../domain/limits.ts";
import { createScene, type Scene } from "../testing/scene.ts";
import { deleteOldNudges, insertNudges } from "./nudges.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
beforeEach(async () => {
  await scene.sql`truncate nudges`;
});
after(async () => {
  await scene.drop();
});

const tidy = (limit: number = limits.tidyBatch) => deleteOldNudges(scene.sql, limits.nudgesKeptMs, limit);

function nudgeAt(dueTime: number): OutboxMessage {
  return {
    outboxId: randomUUID(),
    tenant: "a",
    type: "test",
    body: new Uint8Array(),
    mandatory: true,
    correlationId: undefined,
    traceparent: undefined,
    nudge: { queue: "test", dueTime: new Date(dueTime) },
  };
}

/** Notes a second that was so long ago, and returns it. */
async function layDown(tenant: string, age: string): Promise<number> {
  const [row] = await scene.sql<{ due_time: Date }[]>`
    insert into nudges (tenant_id, due_time)
    values (${tenant}, date_trunc('second', now() - ${age}::interval))
    returning due_time`;
  assert.ok(row);
  return row.due_time.getTime();
}

async function kept(): Promise<number[]> {
  const rows = await scene.sql<{ due_time: Date }[]>`
    select due_time
    from nudges
    order by due_time`;
  return rows.map((row) => row.due_time.getTime());
}

describe("old nudges", () => {
  it("are forgotten so many at a time", async () => {
    for (const minutes of [61, 62, 63]) await layDown("a", `${minutes} minutes`);
    assert.deepEqual([await tidy(2), await tidy(2), await tidy(2)], [2, 1, 0]);
  });

  it("are forgotten an hour after their second, of every tenant, and not a minute before", async () => {
    await layDown("a", "1 hour 1 second");
    await layDown("b", "1 hour 1 second");
    await layDown("a", "30 days");
    const young = [
      await layDown("a", "59 minutes"),
      await layDown("b", "58 minutes"),
      await layDown("a", "0 seconds"),
      await layDown("a", "-1 day"),
    ];
    assert.equal(await tidy(), 3);
    assert.deepEqual(await kept(), young);
    assert.equal(await tidy(), 0);
    assert.deepEqual(await kept(), young);
  });

  it("can be noted again once they are forgotten, and not as long as they are kept", async () => {
    const [old, young] = [await layDown("a", "2 hours"), await layDown("a", "1 minute")];
    const note = async () =>
      await scene.sql.begin(async (tx) => [...(await insertNudges(tx, "a", [old, young].map(nudgeAt)))]);
    assert.deepEqual(await note(), []);
    assert.equal(await tidy(), 1);
    assert.deepEqual(await note(), [old]);
  });
});
