import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { testCall } from "#libs/testing";
import {
  CancelOrderRequestSchema,
  ExtendOrderRequestSchema,
  GetOrderRequestSchema,
  ListOrderHistoryRequestSchema,
  ListOrdersRequestSchema,
  Order_State,
  OrderSchema,
  SettleOrderRequest_LatePolicy,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { eventsIn, historyOf, letFallDue, rejectsWith, rowCounts } from "./testing/facts.ts";
import { createRequest, createScene, type Scene } from "./testing/scene.ts";

const call = testCall();
let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(async () => {
  await scene.drop();
});

type CreateFields = Parameters<typeof createRequest>[0];

async function placed(fields: CreateFields = {}, instance: Pick<Scene, "api"> = scene) {
  const { order } = await instance.api.createOrder(createRequest(fields), call);
  assert.ok(order);
  return create(OrderSchema, order);
}

function settle(
  orderId: string,
  requestId = "",
  paymentReference = "pay-1",
  instance: Pick<Scene, "api"> = scene,
) {
  return instance.api.settleOrder(
    create(SettleOrderRequestSchema, { orderId, requestId, paymentReference }),
    call,
  );
}

function cancel(orderId: string, requestId = "", instance: Pick<Scene, "api"> = scene) {
  return instance.api.cancelOrder(
    create(CancelOrderRequestSchema, { orderId, requestId, reason: "changed my mind" }),
    call,
  );
}

function extend(orderId: string, ttlMs: number, requestId = "", instance: Pick<Scene, "api"> = scene) {
  return instance.api.extendOrder(
    create(ExtendOrderRequestSchema, { orderId, requestId, ttl: durationFromMs(ttlMs) }),
    call,
  );
}

async function get(orderId: string) {
  const { order } = await scene.api.getOrder(create(GetOrderRequestSchema, { orderId }), call);
  assert.ok(order);
  return create(OrderSchema, order);
}

describe("an order that is placed", () => {
  it("is PENDING for 24 hours with what was sent", async () => {
    const order = await placed({ note: "ring twice" });
    assert.equal(order.state, Order_State.PENDING);
    assert.equal(order.totalAmount, 900n);
    assert.equal(order.note, "ring twice");
    assert.ok(order.expireTime && order.updateTime);
    assert.equal(timestampMs(order.expireTime) - timestampMs(order.updateTime), 24 * 3_600_000);
    assert.deepEqual(await get(order.orderId), order);
    assert.deepEqual(await historyOf(scene.sql, order.orderId), ["1 RESERVING api", "2 PENDING api"]);
  });

  it("keeps its lines in their order, with quotes, backslashes and braces in its text", async () => {
    const note = 'a "quoted" \\ back\\slash, {braces}, null, é 漢 🎁';
    const lines = [
      { sku: "b", quantity: 3, unitAmount: 10_000_000_000n },
      { sku: "a", quantity: 1_000_000, locationId: "shelf-2" },
      { sku: "b", quantity: 1 },
    ];
    const order = await placed({ note, lines, customerId: "NULL" });
    const read = await get(order.orderId);
    assert.equal(read.note, note);
    assert.equal(read.customerId, "NULL");
    assert.deepEqual(
      read.lines.map(({ sku, quantity, locationId }) => [sku, quantity, locationId]),
      [
        ["b", 3, "main"],
        ["a", 1_000_000, "shelf-2"],
        ["b", 1, "main"],
      ],
    );
    assert.equal(read.totalAmount, 30_000_000_000n);
  });

  it("has the id, the currency and the ttl that the caller wants", async () => {
    const orderId = randomUUID();
    const order = await placed({ orderId: orderId.toUpperCase(), ttl: durationFromMs(1_500) });
    assert.equal(order.orderId, orderId);
    assert.ok(order.expireTime && order.updateTime);
    assert.equal(timestampMs(order.expireTime) - timestampMs(order.updateTime), 1_500);
  });

  it("can't have amounts without a currency", async () => {
    const error = await rejectsWith("INVALID_FIELD", placed({ currency: "" }));
    assert.deepEqual(
      error.data.fields?.map(({ field }) => field),
      ["currency"],
    );
  });

  it("can't take the id of another", async () => {
    const { orderId } = await placed();
    const requestId = randomUUID();
    await rejectsWith("ORDER_EXISTS", placed({ orderId, requestId }));
    // A refused request leaves its request_id free.
    await placed({ requestId });
  });

  it("is one of many that want the same id at once, over two instances", async () => {
    const other = scene.another();
    const orderId = randomUUID();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) =>
        placed({ orderId, requestId: randomUUID() }, index % 2 ? other : scene),
      ),
    );
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason.reason] : [],
    );
    assert.deepEqual(
      refused,
      Array.from({ length: 9 }, () => "ORDER_EXISTS"),
    );
    const requests = await scene.sql`select 1 from requests where order_id = ${orderId}`;
    assert.equal(requests.length, 1);
  });

  it("tells the others and is nudged at its second, once", async () => {
    const own = await createScene();
    try {
      const ttl = durationFromMs(5_000);
      await Promise.all([placed({ ttl }, own), placed({ ttl }, own), placed({ ttl }, own.another())]);
      const events = await eventsIn(own.sql);
      assert.equal(events.filter((type) => type === "OrderPlaced").length, 3);
      const [{ seconds } = { seconds: 0 }] = await own.sql<{ seconds: number }[]>`
        select count(distinct date_trunc('second', expire_time))::int as seconds from orders`;
      assert.equal(events.filter((type) => type === "OrdersFellDue").length, seconds);
    } finally {
      await own.drop();
    }
  });
});

describe("a request that is repeated", () => {
  it("places one order, whether one after the other or ten at once over two instances", async () => {
    const other = scene.another();
    const requestId = randomUUID();
    const first = await placed({ requestId });
    assert.deepEqual(await placed({ requestId }), first);
    const fresh = randomUUID();
    const orders = await Promise.all(
      Array.from({ length: 10 }, (_, index) => placed({ requestId: fresh }, index % 2 ? other : scene)),
    );
    assert.deepEqual([...new Set(orders.map(({ orderId }) => orderId))], [orders[0]?.orderId]);
    assert.deepEqual(
      orders.map(({ state }) => state),
      orders.map(() => Order_State.PENDING),
    );
  });

  it("gets the order as it is now", async () => {
    const requestId = randomUUID();
    const { orderId } = await placed({ requestId });
    await settle(orderId);
    assert.equal((await placed({ requestId })).state, Order_State.SETTLED);
  });

  it("is refused under the same request_id if it says something else", async () => {
    const requestId = randomUUID();
    const { orderId } = await placed({ requestId });
    const error = await rejectsWith("REQUEST_ID_REUSED", placed({ requestId, note: "other" }));
    assert.deepEqual(
      error.data.fields?.map(({ field }) => field),
      ["request_id"],
    );
    await rejectsWith("REQUEST_ID_REUSED", settle(orderId, requestId));
  });

  it("settles, cancels and extends once and is answered the same", async () => {
    const other = scene.another();
    for (const act of [
      (id: string, request: string, at: Pick<Scene, "api">) => settle(id, request, "pay-9", at),
      (id: string, request: string, at: Pick<Scene, "api">) => cancel(id, request, at),
      (id: string, request: string, at: Pick<Scene, "api">) => extend(id, 172_800_000, request, at),
    ]) {
      const { orderId } = await placed();
      const requestId = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => act(orderId, requestId, index % 2 ? other : scene)),
      );
      for (const answer of answers) assert.deepEqual(answer, answers[0]);
      assert.deepEqual(await act(orderId, requestId, scene), answers[0]);
      assert.equal((await historyOf(scene.sql, orderId)).length, 3);
    }
  });

  it("can't settle another order under a used request_id", async () => {
    const [one, other] = [await placed(), await placed()];
    const requestId = randomUUID();
    await settle(one.orderId, requestId);
    await rejectsWith("REQUEST_ID_REUSED", settle(other.orderId, requestId));
    assert.equal((await get(other.orderId)).state, Order_State.PENDING);
  });

  it("lets one of two orders win when one request_id is sent for both at once", async () => {
    const instances = [scene, scene.another()];
    const orders = await Promise.all([placed(), placed()]);
    const requestId = randomUUID();
    const results = await Promise.allSettled(
      orders.map(({ orderId }, index) => settle(orderId, requestId, "", instances[index])),
    );
    assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const states = await Promise.all(orders.map(async ({ orderId }) => (await get(orderId)).state));
    assert.deepEqual(new Set(states), new Set([Order_State.PENDING, Order_State.SETTLED]));
  });
});

describe("an order that ends", () => {
  it("is settled with its payment", async () => {
    const { orderId } = await placed();
    const { order } = await settle(orderId, "", "pay-77");
    assert.equal(order?.state, Order_State.SETTLED);
    const read = await get(orderId);
    assert.equal(read.paymentReference, "pay-77");
    assert.ok(read.endTime);
    assert.ok((await historyOf(scene.sql, orderId)).includes("3 SETTLED api"));
  });

  it("refuses whatever comes after, naming the state that won", async () => {
    const [settled, cancelled, due] = [await placed(), await placed(), await placed()];
    await settle(settled.orderId);
    await cancel(cancelled.orderId);
    await letFallDue(scene.sql, [due.orderId]);
    const refuse = (orderId: string) => {
      const latePolicy = SettleOrderRequest_LatePolicy.REFUSE;
      return scene.api.settleOrder(create(SettleOrderRequestSchema, { orderId, latePolicy }), call);
    };
    for (const act of [refuse, cancel, (id: string) => extend(id, 5_000)]) {
      await rejectsWith("ORDER_SETTLED", act(settled.orderId));
      await rejectsWith("ORDER_CANCELLED", act(cancelled.orderId));
      await rejectsWith("ORDER_EXPIRED", act(due.orderId));
      await rejectsWith("ORDER_NOT_FOUND", act(randomUUID()));
    }
  });

  it("is expired on the spot when it is met after its time, and reads EXPIRED before", async () => {
    const { orderId } = await placed();
    await letFallDue(scene.sql, [orderId]);
    assert.equal((await get(orderId)).state, Order_State.EXPIRED);
    assert.equal((await historyOf(scene.sql, orderId)).length, 2);
    await rejectsWith("ORDER_EXPIRED", cancel(orderId));
    assert.equal((await historyOf(scene.sql, orderId)).at(-1), "3 EXPIRED touch");
    assert.match(await scene.registry.metrics(), /expiries_total\{trigger="touch"\} [1-9]/);
  });

  it("moves its expire_time later only", async () => {
    const { orderId, expireTime } = await placed({ ttl: durationFromMs(60_000) });
    const { order: shorter } = await extend(orderId, 1_000);
    assert.deepEqual(shorter?.expireTime, expireTime);
    const { order: longer } = await extend(orderId, 120_000);
    assert.ok(longer?.expireTime && expireTime);
    assert.ok(Number(longer.expireTime.seconds) - Number(expireTime.seconds) >= 55);
    assert.equal((await historyOf(scene.sql, orderId)).at(-1), "4 PENDING api");
  });

  it("has one outcome when settle, cancel and extend race over two instances", async () => {
    const instances = [scene, scene.another()] as const;
    const orders = await Promise.all(Array.from({ length: 60 }, () => placed()));
    const results = await Promise.all(
      orders.flatMap(({ orderId }, index) => {
        const [one, other] = index % 2 ? instances : [instances[1], instances[0]];
        return [settle(orderId, "", "p", one), cancel(orderId, "", other), cancel(orderId, "", one)].map(
          (act) =>
            act.then(
              () => 1,
              (error: { reason?: string }) => {
                assert.match(error.reason ?? "no reason", /^ORDER_(SETTLED|CANCELLED)$/);
                return 0;
              },
            ),
        );
      }),
    );
    assert.equal(
      results.reduce<number>((won, one) => won + one, 0),
      60,
    );
    for (const { orderId } of orders) assert.equal((await historyOf(scene.sql, orderId)).length, 3);
  });
});

describe("reading", () => {
  it("tells that there is no such order", async () => {
    await rejectsWith("ORDER_NOT_FOUND", get(randomUUID()));
    const request = create(ListOrderHistoryRequestSchema, { orderId: randomUUID() });
    await rejectsWith("ORDER_NOT_FOUND", scene.api.listOrderHistory(request, call));
  });

  it("does not show one tenant the orders of another", async () => {
    const { orderId } = await placed();
    const stranger = testCall({ caller: { tenant: "other", subject: "api" } });
    const request = create(GetOrderRequestSchema, { orderId });
    await rejectsWith("ORDER_NOT_FOUND", scene.api.getOrder(request, stranger));
    const settling = create(SettleOrderRequestSchema, { orderId });
    await rejectsWith("ORDER_NOT_FOUND", scene.api.settleOrder(settling, stranger));
    const { orders } = await scene.api.listOrders(create(ListOrdersRequestSchema), stranger);
    assert.deepEqual(orders, []);
  });

  it("pages through the history of an order", async () => {
    const { orderId } = await placed();
    await extend(orderId, 172_800_000);
    await cancel(orderId);
    const sequences: (number | undefined)[] = [];
    let pageToken = "";
    do {
      const request = create(ListOrderHistoryRequestSchema, { orderId, pageSize: 3, pageToken });
      const page = await scene.api.listOrderHistory(request, call);
      sequences.push(...(page.history ?? []).map(({ sequence }) => sequence));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "");
    assert.deepEqual(sequences, [1, 2, 3, 4]);
  });
});

it("an order that nobody waits for any more is not begun", async () => {
  const rows = await rowCounts(scene.sql);
  const gone = testCall({ isAbandoned: () => true });
  await rejectsWith("CALL_CANCELLED", scene.api.createOrder(createRequest(), gone));
  assert.deepEqual(await rowCounts(scene.sql), rows);
});
