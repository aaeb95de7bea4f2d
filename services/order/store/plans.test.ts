import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { analyzeGrown, type Sql } from "#libs/db";
import { testCall } from "#libs/testing";
import {
  CancelOrderRequestSchema,
  ListOrdersRequestSchema,
  Order_State,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { letFallDue } from "../testing/facts.ts";
import { createRequest, createScene, type Instance, type Scene } from "../testing/scene.ts";

const OTHERS = 60_000;
const call = testCall();
let scene: Scene;

before(async () => {
  scene = await createScene();
  await readBy(async ({ sql }) => await layDown(sql));
  await analyzeGrown(scene.sql);
});
after(async () => {
  await scene.drop();
});

async function layDown(sql: Sql): Promise<void> {
  await sql`
    insert into orders
      (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time,
       expire_time, end_time)
    select
      'demo', gen_random_uuid(), state, 2, 'customer-' || number % 1000, '', '', time, time,
      now() + number * interval '1 minute', case when state = 'SETTLED' then now() end
    from generate_series(1, ${OTHERS}::int) as number
    cross join lateral (
      select
        case when number % 2 = 0 then 'PENDING' else 'SETTLED' end as state,
        now() - number * interval '1 second' as time
    ) as laid`;
  await sql`
    insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
    select tenant_id, order_id, 1, 'tea', '', 1, 0 from orders`;
}

/** The rows and index entries that the work reads, by the database's own count. */
async function readBy(work: (instance: Instance) => Promise<unknown>): Promise<number> {
  const instance = scene.another();
  const readBefore = await countedReads();
  await work(instance);
  // A connection tells what it read at the latest when it ends, so all that reads much has a pool of its own.
  await instance.sql.end();
  return (await countedReads()) - readBefore;
}

async function countedReads(): Promise<number> {
  await scene.sql`select pg_stat_clear_snapshot()`;
  const [row] = await scene.sql<{ reads: number }[]>`
    select (
      (select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables)
      + (select sum(idx_tup_read) from pg_stat_user_indexes)
    )::int as reads`;
  return row?.reads ?? 0;
}

async function placeOrders({ api }: Instance, count: number): Promise<string[]> {
  const answers = await Promise.all(
    Array.from({ length: count }, () => api.createOrder(createRequest({ requestId: randomUUID() }), call)),
  );
  return answers.map(({ order }) => order?.orderId ?? "");
}

describe("beside many other orders", () => {
  it("placing and ending a few reads a few", async () => {
    const reads = await readBy(async (instance) => {
      const orders = await placeOrders(instance, 100);
      await Promise.all(
        orders.map((orderId, index) =>
          index % 2
            ? instance.api.settleOrder(create(SettleOrderRequestSchema, { orderId }), call)
            : instance.api.cancelOrder(create(CancelOrderRequestSchema, { orderId }), call),
        ),
      );
    });
    assert.ok(reads > 100 && reads < 6_000, `${reads} reads for 100 orders`);
  });

  it("expiring, sweeping and recovering a few reads a few", async () => {
    await readBy(async (instance) => await letFallDue(instance.sql, await placeOrders(instance, 20), 5_000));
    const reads = await readBy(async ({ expiry }) => {
      await expiry.sweep();
      await expiry.expireDue("demo");
      await expiry.recover(30_000);
    });
    assert.ok(reads > 20 && reads < 1_500, `${reads} reads for 20 orders`);
  });

  it("a page of a list reads little more than the page", async () => {
    const filters = [
      {},
      { state: Order_State.PENDING },
      { state: Order_State.SETTLED },
      { state: Order_State.EXPIRED },
      { state: Order_State.REJECTED },
      { customerId: "customer-7" },
      { customerId: "customer-7", state: Order_State.SETTLED },
    ];
    for (const filter of filters) {
      const request = create(ListOrdersRequestSchema, { ...filter, pageSize: 20 });
      const reads = await readBy(({ api }) => api.listOrders(request, call));
      assert.ok(reads < 1_500, `${reads} reads for a page of ${JSON.stringify(filter)}`);
    }
  });
});
