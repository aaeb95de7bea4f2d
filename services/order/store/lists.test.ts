import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import { ListOrdersRequestSchema, Order_State } from "#proto/holdfast/order/v1/order_pb.ts";
import { letFallDue, rejectsWith, settling } from "../testing/facts.ts";
import { createRequest, createScene, type Scene } from "../testing/scene.ts";

const call = testCall();
const customers = ["ann", "bob", "ann".repeat(60), `${"ann".repeat(60)}e`];
let scene: Scene;
/** Newest first. */
let newest: string[];
let [settled, cancelled, due, rejected, live] = ["", "", "", "", ""];

before(async () => {
  scene = await createScene();
  const orders: string[] = [];
  for (const index of Array.from({ length: 25 }).keys()) {
    const customerId = customers[index % customers.length] ?? "";
    const { order } = await scene.api.createOrder(createRequest({ customerId }), call);
    orders.push(order?.orderId ?? "");
  }
  const [first = "", second = "", third = "", fourth = ""] = orders;
  [settled, cancelled, due, live] = [first, second, third, fourth];
  const change = { request: undefined, correlationId: "" };
  await scene.changes.change("demo", { ...change, orderId: settled, intent: settling() }, () => false);
  const cancel = { kind: "cancel", reason: "" } as const;
  await scene.changes.change("demo", { ...change, orderId: cancelled, intent: cancel }, () => false);
  const shortages = [{ sku: "tea", locationId: "main", requested: 2, available: 0 }];
  scene.inventory.answer = () => ({
    state: "REFUSED",
    refusal: { reason: "INSUFFICIENT_STOCK", message: "", metadata: {}, shortages, field: "" },
  });
  const error = await rejectsWith("INSUFFICIENT_STOCK", scene.api.createOrder(createRequest(), call));
  rejected = error.data.metadata?.["order_id"] ?? "";
  await letFallDue(scene.sql, [due]);
  const rows = await scene.sql<{ order_id: string }[]>`
    select order_id from orders order by create_time desc, order_id desc`;
  newest = rows.map((row) => row.order_id);
});
after(async () => {
  await scene.drop();
});

type ListFields = { state?: Order_State; customerId?: string; pageSize?: number; pageToken?: string };

async function page(fields: ListFields) {
  const answer = await scene.api.listOrders(create(ListOrdersRequestSchema, fields), call);
  const orders = answer.orders ?? [];
  return { orders, ids: orders.map(({ orderId }) => orderId ?? ""), next: answer.nextPageToken ?? "" };
}

async function allPages(fields: ListFields): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = "";
  do {
    const { ids: found, next } = await page({ ...fields, pageToken });
    assert.ok(found.length > 0 || next === "");
    ids.push(...found);
    pageToken = next;
  } while (pageToken !== "");
  return ids;
}

describe("the list of orders", () => {
  it("is newest first and the same in pages of any size", async () => {
    assert.deepEqual((await page({})).ids, newest);
    for (const pageSize of [1, 7, 25, 26]) assert.deepEqual(await allPages({ pageSize }), newest);
  });

  it("shows the lines of each order", async () => {
    const { orders } = await page({ pageSize: 3 });
    for (const { lines } of orders)
      assert.deepEqual(
        lines?.map(({ sku }) => sku),
        ["tea"],
      );
  });

  it("is filtered by the state as it reads: what is due is EXPIRED, not PENDING", async () => {
    assert.deepEqual(await allPages({ state: Order_State.SETTLED, pageSize: 2 }), [settled]);
    assert.deepEqual(await allPages({ state: Order_State.CANCELLED, pageSize: 2 }), [cancelled]);
    assert.deepEqual(await allPages({ state: Order_State.REJECTED, pageSize: 2 }), [rejected]);
    assert.deepEqual(await allPages({ state: Order_State.EXPIRED, pageSize: 2 }), [due]);
    assert.deepEqual(await allPages({ state: Order_State.RESERVING, pageSize: 2 }), []);
    const pending = await allPages({ state: Order_State.PENDING, pageSize: 4 });
    const ended = [settled, cancelled, due, rejected];
    assert.deepEqual(
      pending,
      newest.filter((orderId) => !ended.includes(orderId)),
    );
    const { orders } = await page({ state: Order_State.EXPIRED });
    assert.equal(orders[0]?.state, Order_State.EXPIRED);
  });

  it("shows swept and unswept expired orders in one order", async () => {
    await letFallDue(scene.sql, [live]);
    await scene.expiry.expireDue("demo");
    const other =
      newest.find((orderId) => ![settled, cancelled, due, rejected, live].includes(orderId)) ?? "";
    await letFallDue(scene.sql, [other]);
    const rows = await scene.sql<{ order_id: string }[]>`
      select order_id from orders where order_id = any(${`{${[due, live, other].join(",")}}`}::uuid[])
      order by create_time desc, order_id desc`;
    assert.deepEqual(
      await allPages({ state: Order_State.EXPIRED, pageSize: 1 }),
      rows.map((row) => row.order_id),
    );
  });

  it("is filtered by the customer, also by ids that begin alike", async () => {
    for (const customerId of customers) {
      const expected = await scene.sql<{ order_id: string }[]>`
        select order_id from orders
        where customer_id = ${customerId}
        order by create_time desc, order_id desc`;
      const ids = await allPages({ customerId, pageSize: 2 });
      assert.ok(ids.length > 5);
      assert.deepEqual(
        ids,
        expected.map((row) => row.order_id),
      );
    }
    assert.deepEqual(await allPages({ customerId: "nobody" }), []);
  });

  it("is filtered by customer and state together", async () => {
    assert.deepEqual(await allPages({ customerId: "ann", state: Order_State.SETTLED }), [settled]);
    assert.deepEqual(await allPages({ customerId: "bob", state: Order_State.SETTLED }), []);
  });

  it("refuses a page token of another filter, and one that is none", async () => {
    const { next } = await page({ pageSize: 5 });
    await rejectsWith("INVALID_FIELD", page({ pageToken: next, state: Order_State.PENDING }));
    await rejectsWith("INVALID_FIELD", page({ pageToken: "abc" }));
  });

  it("goes on behind an order that is taken back while its page is read", async () => {
    const [gone = "", next = ""] = (await page({})).ids;
    await scene.sql`delete from order_lines where order_id = ${gone}`;
    const first = await page({ pageSize: 1 });
    assert.deepEqual(first.ids, []);
    assert.deepEqual((await page({ pageSize: 1, pageToken: first.next })).ids, [next]);
    await scene.sql`delete from orders where order_id = ${gone}`;
  });

  it("does not repeat or miss an order when others are placed between two pages", async () => {
    const all = (await page({})).ids;
    const first = await page({ pageSize: 10 });
    scene.inventory.answer = () => ({ state: "RESERVED" });
    await scene.api.createOrder(createRequest(), call);
    const second = await page({ pageSize: 100, pageToken: first.next });
    assert.deepEqual([...first.ids, ...second.ids], all);
  });
});
