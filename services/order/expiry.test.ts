import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { DomainError } from "#libs/reasons";
import { testCall } from "#libs/testing";
import { OrderExpiredSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { limits } from "./domain/limits.ts";
import { eventsIn, eventually, historyOf, letFallDue, rejectsWith, settling } from "./testing/facts.ts";
import { createRequest, createScene, type Scene } from "./testing/scene.ts";

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

async function placeOrders(count: number, tenant = "demo"): Promise<string[]> {
  const call = testCall({ caller: { tenant, subject: "api" } });
  const answers = await Promise.all(
    Array.from({ length: count }, () => scene.api.createOrder(createRequest(), call)),
  );
  return answers.map(({ order }) => order?.orderId ?? "");
}

describe("expiry", () => {
  it("ends what is due, tells Inventory and leaves the rest alone", async () => {
    const [due = "", live = ""] = await placeOrders(2);
    await letFallDue(scene.sql, [due]);
    await scene.sql`truncate outbox`;
    await scene.expiry.expireDue("demo");
    assert.equal((await historyOf(scene.sql, due)).at(-1), "3 EXPIRED nudge");
    assert.equal((await historyOf(scene.sql, live)).length, 2);
    const [row] = await scene.sql<{ body: Buffer; mandatory: boolean }[]>`select body, mandatory from outbox`;
    assert.ok(row);
    const event = fromBinary(OrderExpiredSchema, row.body);
    assert.ok(row.mandatory && event.endTime && event.expireTime);
    assert.equal(event.orderId, due);
    assert.ok(timestampMs(event.endTime) - timestampMs(event.expireTime) >= 100);
  });

  it("ends each order once, however many nudges and sweepers work at the same time", async () => {
    const orders = await placeOrders(300);
    await letFallDue(scene.sql, orders, 5_000);
    await scene.sql`truncate outbox`;
    const other = scene.another();
    await Promise.all([
      ...Array.from({ length: 5 }, () => scene.expiry.expireDue("demo")),
      ...Array.from({ length: 5 }, () => other.expiry.expireDue("demo")),
      scene.expiry.sweep(),
      other.expiry.sweep(),
    ]);
    assert.equal((await eventsIn(scene.sql)).length, 300);
    const [row] = await scene.sql<{ ended: number; entries: number }[]>`
      select
        (select count(*)::int from orders where state = 'EXPIRED' and version = 3) as ended,
        (select count(*)::int from order_history where to_state = 'EXPIRED') as entries`;
    assert.deepEqual(row, { ended: 300, entries: 300 });
  });

  it("works off more than one batch of orders that fell due together", async () => {
    const count = limits.expiryBatch * 2 + 1;
    await layDownPending(count);
    await scene.expiry.expireDue("demo");
    const [row] = await scene.sql<{ ended: number }[]>`
      select count(*)::int as ended from orders where state = 'EXPIRED'`;
    assert.equal(row?.ended, count);
  });

  it("goes on past an order that somebody has locked, and leaves it to the sweeper", async () => {
    const [locked = "", ...others] = await placeOrders(3);
    await letFallDue(scene.sql, [locked, ...others], 5_000);
    await scene.sql.begin(async (tx) => {
      await tx`select 1 from orders where order_id = ${locked} for update`;
      await scene.expiry.expireDue("demo");
    });
    assert.equal((await historyOf(scene.sql, locked)).length, 2);
    for (const orderId of others) assert.equal((await historyOf(scene.sql, orderId)).length, 3);
    await scene.expiry.sweep();
    assert.equal((await historyOf(scene.sql, locked)).at(-1), "3 EXPIRED sweeper");
  });

  it("does not end an order that was extended", async () => {
    const [orderId = ""] = await placeOrders(1);
    const intent = { kind: "extend", ttlMs: 200_000_000 } as const;
    await scene.changes.change(
      "demo",
      { orderId, intent, request: undefined, correlationId: "" },
      () => false,
    );
    await scene.expiry.expireDue("demo");
    assert.equal((await historyOf(scene.sql, orderId)).at(-1), "3 PENDING api");
  });
});

it("settle, cancel and expiry at the same moment have one outcome for each order", async () => {
  const other = scene.another();
  const orders = await placeOrders(300);
  await letFallDue(scene.sql, orders, -1_000);
  const intents = [settling("p"), { kind: "cancel", reason: "c" } as const];
  const call = { request: undefined, correlationId: "" };
  const acts = orders.flatMap((orderId, index) =>
    intents.map(async (intent, turn) => {
      // A third is tried before its time, a third around it and a third after it.
      const startAt = performance.now() + (index % 3) * 1_000;
      await eventually(async () => performance.now() >= startAt, "its turn");
      const { changes } = (index + turn) % 2 ? scene : other;
      return await changes
        .change("demo", { ...call, orderId, intent }, () => false)
        .then(
          ({ order }) => ({ orderId, won: order.state }),
          (error: DomainError) => ({ orderId, lostTo: error.reason }),
        );
    }),
  );
  const expiring = eventually(async () => {
    await Promise.all([scene.expiry.expireDue("demo"), other.expiry.expireDue("demo")]);
    return (await scene.sql`select 1 from orders where state = 'PENDING'`).length === 0;
  }, "every order ends");
  const results = await Promise.all(acts);
  await expiring;
  const ended = new Map<string, string>();
  for (const orderId of orders) {
    const [, , last = "", ...more] = await historyOf(scene.sql, orderId);
    // A settle that comes too late, and wants it so, notes that its payment is to be given back.
    assert.ok(more.length === 0 || (more.length === 1 && more[0] === "4 EXPIRED api"), String(more));
    ended.set(orderId, last.split(" ")[1] ?? "");
  }
  for (const result of results) {
    const state = ended.get(result.orderId);
    if ("won" in result) assert.equal(result.won, state);
    else assert.equal(result.lostTo, `ORDER_${state}`);
  }
  assert.ok(new Set(ended.values()).has("EXPIRED") && new Set(ended.values()).size > 1);
});

describe("an expiry that is stopped", () => {
  it("ends with the batch under way, and leaves the nudge to others", async () => {
    const stopping = scene.another();
    await layDownPending(limits.expiryBatch * 32);
    const answering = rejectsWith("DEPENDENCY_UNAVAILABLE", stopping.expiry.expireDue("demo"));
    await eventually(async () => (await expiredBy("nudge")) > 0, "the nudge's work begins");
    stopping.expiry.stop();
    const expired = await expiredBy("nudge");
    await answering;
    await rejectsWith("DEPENDENCY_UNAVAILABLE", stopping.expiry.expireDue("demo"));
    await stopping.expiry.sweep();
    assert.ok((await expiredBy("nudge")) <= expired + limits.expiryBatch);
    assert.equal(await expiredBy("sweeper"), 0);
  });
});

describe("the sweeper", () => {
  it("leaves what has just fallen due to its nudge", async () => {
    const [orderId = ""] = await placeOrders(1);
    await letFallDue(scene.sql, [orderId], limits.sweepGraceMs / 2);
    await scene.expiry.sweep();
    assert.equal((await historyOf(scene.sql, orderId)).length, 2);
  });

  it("finds the overdue orders of every tenant, among tenants without any", async () => {
    const tenants = ["a", "b", "c", "d"];
    const orders = await Promise.all(tenants.map((tenant) => placeOrders(2, tenant)));
    await letFallDue(scene.sql, [orders[1]?.[0] ?? "", orders[3]?.[1] ?? ""], 5_000);
    const countedBefore = await countedExpiries();
    await scene.expiry.sweep();
    const rows = await scene.sql<{ tenant_id: string; state: string }[]>`
      select tenant_id, state from orders where state = 'EXPIRED' order by tenant_id`;
    assert.deepEqual(
      rows.map((row) => row.tenant_id),
      ["b", "d"],
    );
    assert.equal((await countedExpiries()) - countedBefore, 2);
  });

  it("takes no more than a batch of the oldest while a nudge is being answered", async () => {
    const count = limits.expiryBatch * 32;
    await layDownPending(count);
    await scene.sql`update orders set expire_time = expire_time - interval '3 seconds'`;
    const [oldest = ""] = await placeOrders(1);
    await letFallDue(scene.sql, [oldest], 60_000);
    let answering: Promise<void> | undefined;
    await scene.sql.begin(async (tx) => {
      await tx`select 1 from orders where order_id = ${oldest} for update`;
      answering = scene.expiry.expireDue("demo");
      await eventually(async () => (await expiredBy("nudge")) > 0, "the nudge's work begins");
    });
    await scene.expiry.sweep();
    assert.equal((await historyOf(scene.sql, oldest)).at(-1), "3 EXPIRED sweeper");
    assert.equal(await expiredBy("sweeper"), limits.expiryBatch);
    await answering;
    assert.equal(await expiredBy("nudge"), count + 1 - limits.expiryBatch);
  });

  it("leaves the rest to a nudge that comes while it sweeps", async () => {
    const count = limits.expiryBatch * 32;
    await layDownPending(count);
    await scene.sql`update orders set expire_time = expire_time - interval '3 seconds'`;
    const sweeping = scene.expiry.sweep();
    await eventually(async () => (await expiredBy("sweeper")) > 0, "the sweep begins");
    const answering = scene.expiry.expireDue("demo");
    const swept = await expiredBy("sweeper");
    await Promise.all([sweeping, answering]);
    // And the batch that was under way.
    assert.ok((await expiredBy("sweeper")) <= swept + limits.expiryBatch);
    assert.equal((await expiredBy("sweeper")) + (await expiredBy("nudge")), count);
  });
});

/** How many expiries the sweeper of the scene has counted so far. */
async function countedExpiries(): Promise<number> {
  const [, count] = /^expiries_total\{trigger="sweeper"\} (\d+)$/m.exec(await scene.registry.metrics()) ?? [];
  return Number(count ?? 0);
}

async function expiredBy(actor: string): Promise<number> {
  const [row] = await scene.sql<{ count: number }[]>`
    select count(*)::int as count from order_history where to_state = 'EXPIRED' and actor = ${actor}`;
  return row?.count ?? 0;
}

async function layDownPending(count: number): Promise<void> {
  await scene.sql`
    insert into orders
      (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time,
       expire_time)
    select
      'demo', gen_random_uuid(), 'PENDING', 2, 'c', '', '', now() - interval '1 hour', now(),
      now() - (number % 500) * interval '1 millisecond'
    from generate_series(1, ${count}::int) as number`;
}
