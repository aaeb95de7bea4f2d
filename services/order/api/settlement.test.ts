/** Payments that come after their order has expired. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { DomainError } from "#libs/reasons";
import { testCall } from "#libs/testing";
import { OrderAbandonedSchema, OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import {
  GetOrderRequestSchema,
  ListOrdersRequestSchema,
  Order_State,
  OrderSchema,
  ResolveRefundRequestSchema,
  SettleOrderRequest_LatePolicy,
  SettleOrderRequestSchema,
} from "#proto/holdfast/order/v1/order_pb.ts";
import type { Reserved } from "../domain/reservation.ts";
import { eventsIn, historyOf, letFallDue, rejectsWith } from "../testing/facts.ts";
import { createRequest, createScene, type Instance, type Scene } from "../testing/scene.ts";

const call = testCall();
const { REFUSE } = SettleOrderRequest_LatePolicy;
let scene: Scene;
before(async () => {
  scene = await createScene();
});
beforeEach(async () => {
  scene.inventory.answer = () => ({ state: "RESERVED" });
  scene.inventory.calls.length = 0;
  await scene.sql`truncate orders, order_lines, order_history, requests, nudges, outbox`;
});
after(async () => {
  await scene.drop();
});

/** An order that has expired, and what it has told the others taken away. */
async function expired(): Promise<string> {
  const { order } = await scene.api.createOrder(createRequest(), call);
  const orderId = order?.orderId ?? "";
  await letFallDue(scene.sql, [orderId]);
  await scene.expiry.expireDue("demo");
  await scene.sql`truncate outbox`;
  scene.inventory.calls.length = 0;
  return orderId;
}

type Payment = MessageInitShape<typeof SettleOrderRequestSchema>;

async function settle(orderId: string, fields: Payment = {}, { api }: Pick<Instance, "api"> = scene) {
  const request = create(SettleOrderRequestSchema, { orderId, paymentReference: "pay-1", ...fields });
  const { order } = await api.settleOrder(request, call);
  return create(OrderSchema, order ?? {});
}

async function refused(orderId: string, fields: Payment = {}, instance: Pick<Instance, "api"> = scene) {
  const error = await rejectsWith("ORDER_EXPIRED", settle(orderId, fields, instance));
  assert.equal(error.data.metadata?.["refund_required"], "true");
}

async function resolve(orderId: string, resolution: string, requestId = "") {
  const request = create(ResolveRefundRequestSchema, { orderId, resolution, requestId });
  const { order } = await scene.api.resolveRefund(request, call);
  return create(OrderSchema, order ?? {});
}

async function get(orderId: string) {
  const { order } = await scene.api.getOrder(create(GetOrderRequestSchema, { orderId }), call);
  return create(OrderSchema, order ?? {});
}

async function toRefund(fields: MessageInitShape<typeof ListOrdersRequestSchema> = {}) {
  const request = create(ListOrdersRequestSchema, { refundRequired: true, ...fields });
  const { orders } = await scene.api.listOrders(request, call);
  return orders?.map(({ orderId }) => orderId);
}

const soldOut: Reserved = {
  state: "REFUSED",
  refusal: { reason: "INSUFFICIENT_STOCK", message: "none left", metadata: {}, shortages: [], field: "" },
};
const unavailable = () => new DomainError("DEPENDENCY_UNAVAILABLE", "Inventory does not answer");

describe("a payment that comes late", () => {
  it("settles the order with stock that is reserved again, under another reservation", async () => {
    const orderId = await expired();
    const requestId = randomUUID();
    const order = await settle(orderId, { requestId });
    assert.deepEqual([order.state, order.late, order.paymentReference], [Order_State.SETTLED, true, "pay-1"]);
    const [[asked] = []] = scene.inventory.calls;
    assert.ok(asked && asked.orderId === orderId && asked.reservationId !== orderId);
    assert.deepEqual(await historyOf(scene.sql, orderId), [
      "1 RESERVING api",
      "2 PENDING api",
      "3 EXPIRED nudge",
      "4 EXPIRED api",
      "5 SETTLED api",
    ]);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderSettled"]);
    const [row] = await scene.sql<{ body: Buffer }[]>`select body from outbox`;
    const event = fromBinary(OrderSettledSchema, row?.body ?? Buffer.alloc(0));
    assert.deepEqual([event.orderId, event.reservationId, event.late], [orderId, asked.reservationId, true]);
    assert.deepEqual(await settle(orderId, { requestId }), order);
    await rejectsWith("ORDER_SETTLED", settle(orderId));
    assert.match(await scene.registry.metrics(), /late_payments_total\{outcome="settled"\} 1/);
  });

  it("meets an order that is due and not swept, expires it and settles it", async () => {
    const { order } = await scene.api.createOrder(createRequest(), call);
    const orderId = order?.orderId ?? "";
    await letFallDue(scene.sql, [orderId]);
    assert.equal((await settle(orderId)).late, true);
    assert.equal((await historyOf(scene.sql, orderId))[2], "3 EXPIRED touch");
    assert.ok((await eventsIn(scene.sql)).includes("OrderExpired"));
  });

  it("is to be given back when the stock is gone, and every repetition is told the same", async () => {
    const orderId = await expired();
    scene.inventory.answer = () => soldOut;
    const requestId = randomUUID();
    await refused(orderId, { requestId });
    scene.inventory.answer = () => ({ state: "RESERVED" });
    await refused(orderId, { requestId });
    await refused(orderId);
    const order = await get(orderId);
    assert.deepEqual(
      [order.state, order.refundRequired, order.late, order.paymentReference],
      [Order_State.EXPIRED, true, false, "pay-1"],
    );
    // The release is for a call of the same attempt that may have found stock after this one had not.
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned", "OrderRefundRequired"]);
    const [row] = await scene.sql<{ body: Buffer }[]>`select body from outbox where type like '%Abandoned'`;
    const release = fromBinary(OrderAbandonedSchema, row?.body ?? Buffer.alloc(0));
    assert.equal(release.reservationId, scene.inventory.calls[0]?.[0]?.reservationId);
    assert.equal((await historyOf(scene.sql, orderId)).length, 5);
  });

  it("is to be given back at once when the caller wants no other try", async () => {
    const orderId = await expired();
    await refused(orderId, { latePolicy: REFUSE });
    assert.equal((await get(orderId)).refundRequired, true);
    assert.equal(scene.inventory.calls.length, 0);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderRefundRequired"]);
  });

  it("is dealt with once when it comes ten times at once, over two instances", async () => {
    const other = scene.another();
    for (const isThere of [true, false]) {
      scene.inventory.answer = () => ({ state: "RESERVED" });
      const orderId = await expired();
      if (!isThere) scene.inventory.answer = () => soldOut;
      const requestId = randomUUID();
      const results = await Promise.allSettled(
        Array.from({ length: 10 }, (_, index) => settle(orderId, { requestId }, index % 2 ? other : scene)),
      );
      assert.deepEqual(
        new Set(results.map(({ status }) => status)),
        new Set([isThere ? "fulfilled" : "rejected"]),
      );
      const ids = scene.inventory.calls.flat().map(({ reservationId }) => reservationId);
      assert.equal(new Set(ids).size, 1);
      assert.equal((await historyOf(scene.sql, orderId)).length, 5);
      const [event] = isThere ? ["OrderSettled"] : ["OrderRefundRequired"];
      assert.equal((await eventsIn(scene.sql)).filter((type) => type === event).length, 1);
    }
  });
});

describe("two payments for one expired order", () => {
  it("have one that settles it when both come at once; the other is told", async () => {
    const other = scene.another();
    const orderId = await expired();
    const results = await Promise.allSettled([
      settle(orderId, { paymentReference: "pay-1" }),
      settle(orderId, { paymentReference: "pay-2" }, other),
    ]);
    assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const reasons = results.flatMap((result) => (result.status === "rejected" ? [result.reason.reason] : []));
    assert.match(String(reasons), /^(CONFLICT|ORDER_SETTLED)$/);
    await rejectsWith("ORDER_SETTLED", settle(orderId, { paymentReference: "pay-3" }));
  });

  it("are both to be given back, told in the history, and the refund is required once", async () => {
    const orderId = await expired();
    await refused(orderId, { latePolicy: REFUSE });
    const requestId = randomUUID();
    for (const _ of [1, 2]) await refused(orderId, { paymentReference: "pay-2", requestId });
    assert.equal((await historyOf(scene.sql, orderId)).length, 5);
    assert.equal((await get(orderId)).paymentReference, "pay-1");
    assert.deepEqual(await eventsIn(scene.sql), ["OrderRefundRequired"]);
  });

  it("of which the second comes after the first was given back, open the refund again", async () => {
    const orderId = await expired();
    await refused(orderId, { latePolicy: REFUSE });
    await resolve(orderId, "sent back");
    await refused(orderId, { paymentReference: "pay-2" });
    const order = await get(orderId);
    assert.deepEqual([order.refundRequired, order.paymentReference], [true, "pay-2"]);
    assert.equal(order.refundResolveTime, undefined);
    assert.equal(scene.inventory.calls.length, 0);
  });

  it("are each told once, however late they are repeated and whatever their references are", async () => {
    const [orderId, strange] = [await expired(), '{"pay", \\2}, NULL'];
    await refused(orderId, { latePolicy: REFUSE });
    await refused(orderId, { paymentReference: strange });
    await refused(orderId, { paymentReference: "" });
    await resolve(orderId, "sent back");
    await refused(orderId, { paymentReference: "pay-3" });
    await resolve(orderId, "sent back too");
    const told = [await eventsIn(scene.sql), await historyOf(scene.sql, orderId)];
    const other = scene.another();
    for (const paymentReference of ["pay-1", strange, "pay-3"]) {
      await refused(orderId, { paymentReference, requestId: randomUUID() }, other);
      await refused(orderId, { paymentReference, latePolicy: REFUSE });
    }
    assert.equal((await get(orderId)).refundRequired, false);
    assert.deepEqual([await eventsIn(scene.sql), await historyOf(scene.sql, orderId)], told);
    assert.deepEqual(told[0], ["OrderRefundRequired", "OrderRefundRequired"]);
  });
});

describe("a late payment that Inventory does not answer", () => {
  it("goes on with the same attempt when its request comes again", async () => {
    const orderId = await expired();
    scene.inventory.answer = () => Promise.reject(unavailable());
    const requestId = randomUUID();
    await rejectsWith("DEPENDENCY_UNAVAILABLE", settle(orderId, { requestId }));
    assert.equal((await get(orderId)).state, Order_State.EXPIRED);
    await rejectsWith("CONFLICT", settle(orderId, { paymentReference: "pay-2" }));
    await rejectsWith("CONFLICT", settle(orderId, { latePolicy: REFUSE }));
    scene.inventory.answer = () => ({ state: "RESERVED" });
    assert.equal((await settle(orderId, { requestId }, scene.another())).late, true);
    const ids = scene.inventory.calls.flat().map(({ reservationId }) => reservationId);
    assert.equal(new Set(ids).size, 1);
  });

  it("is given up by the recovery when it is old, and the stock that it may have is released", async () => {
    const orderId = await expired();
    scene.inventory.answer = () => Promise.reject(unavailable());
    const requestId = randomUUID();
    await rejectsWith("DEPENDENCY_UNAVAILABLE", settle(orderId, { requestId }));
    await scene.expiry.recover(60_000);
    assert.equal((await get(orderId)).refundRequired, false);
    await Promise.all([scene.expiry.recover(0), scene.another().expiry.recover(0)]);
    assert.equal((await get(orderId)).refundRequired, true);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned", "OrderRefundRequired"]);
    assert.equal((await historyOf(scene.sql, orderId)).at(-1), "5 EXPIRED recovery");
    await refused(orderId, { requestId });
  });

  it("and is answered after the recovery gave it up, stays given up", async () => {
    const orderId = await expired();
    scene.inventory.answer = async () => {
      await scene.expiry.recover(0);
      return { state: "RESERVED" };
    };
    await refused(orderId);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned", "OrderRefundRequired"]);
  });

  it("waits for another moment when Inventory has too much to do", async () => {
    const orderId = await expired();
    const busy = { ...soldOut.refusal, reason: "OVERLOADED" };
    scene.inventory.answer = () => ({ state: "REFUSED", refusal: busy });
    await rejectsWith("OVERLOADED", settle(orderId));
    scene.inventory.answer = () => ({ state: "RESERVED" });
    assert.equal((await settle(orderId)).late, true);
  });
});

describe("a refund", () => {
  it("is listed until it is resolved, which may be said twice", async () => {
    const [orderId, other] = [await expired(), await expired()];
    await refused(orderId, { latePolicy: REFUSE });
    await refused(other, { latePolicy: REFUSE });
    assert.deepEqual(new Set(await toRefund()), new Set([orderId, other]));
    assert.deepEqual(await toRefund({ state: Order_State.SETTLED }), []);
    assert.deepEqual(await toRefund({ customerId: "nobody" }), []);
    const requestId = randomUUID();
    const order = await resolve(orderId, "bank transfer 7", requestId);
    assert.deepEqual([order.refundRequired, order.refundResolution], [false, "bank transfer 7"]);
    assert.ok(order.refundResolveTime);
    assert.deepEqual(await resolve(orderId, "bank transfer 7", requestId), order);
    assert.deepEqual(await resolve(orderId, "bank transfer 7"), order);
    await rejectsWith("REFUND_NOT_REQUIRED", resolve(orderId, "bank transfer 8"));
    assert.deepEqual(await toRefund({ customerId: "customer-1" }), [other]);
    assert.deepEqual(await toRefund({ refundRequired: false }), [orderId]);
    assert.deepEqual(await toRefund({ refundRequired: false, customerId: "customer-1" }), [orderId]);
  });

  it("of an order that requires none is refused", async () => {
    await rejectsWith("REFUND_NOT_REQUIRED", resolve(await expired(), "why"));
    const { order } = await scene.api.createOrder(createRequest(), call);
    await rejectsWith("REFUND_NOT_REQUIRED", resolve(order?.orderId ?? "", "why"));
    await rejectsWith("ORDER_NOT_FOUND", resolve(randomUUID(), "why"));
  });
});

describe("payments at the very moment at which their orders expire", () => {
  const ORDERS = 200;
  /** Orders that can have their stock again. */
  const LEFT = 20;

  it("have one outcome each: settled, settled late, or to be given back", async () => {
    const other = scene.another();
    const answers = await Promise.all(
      Array.from({ length: ORDERS }, () => scene.api.createOrder(createRequest(), call)),
    );
    const orderIds = answers.map(({ order }) => order?.orderId ?? "");
    const reserved = new Set<string>();
    scene.inventory.answer = ({ reservationId }) => {
      if (!reserved.has(reservationId) && reserved.size >= LEFT) return soldOut;
      reserved.add(reservationId);
      return { state: "RESERVED" };
    };
    await letFallDue(scene.sql, orderIds, -1_500);
    let isOver = false;
    const expiring = (async () => {
      while (!isOver) await Promise.all([scene.expiry.expireDue("demo"), other.expiry.expireDue("demo")]);
    })();
    const outcomes = await Promise.all(
      orderIds.map(async (orderId, index) => {
        // The payments come over three seconds, half of them before the moment, each at both instances.
        await pause(15 * index);
        const requestId = randomUUID();
        return await Promise.all(
          [scene, other].map((instance) => outcomeOf(orderId, { requestId }, instance)),
        );
      }),
    );
    isOver = true;
    await expiring;
    const kinds = new Map<string, number>();
    for (const [index, [outcome = "", again]] of outcomes.entries()) {
      assert.equal(again, outcome);
      assert.equal(outcome, await kindOf(orderIds[index] ?? ""));
      kinds.set(outcome, (kinds.get(outcome) ?? 0) + 1);
    }
    const events = Map.groupBy(await eventsIn(scene.sql), (type) => type);
    const count = (kind: string) => kinds.get(kind) ?? 0;
    assert.equal(count("settled late"), LEFT);
    assert.ok(count("settled") > 0 && count("refund") > 0, JSON.stringify([...kinds]));
    assert.equal(count("settled") + count("settled late") + count("refund"), ORDERS);
    assert.equal(events.get("OrderSettled")?.length, count("settled") + LEFT);
    assert.equal(events.get("OrderRefundRequired")?.length, count("refund"));
    assert.equal(events.get("OrderExpired")?.length, LEFT + count("refund"));
  });

  async function outcomeOf(
    orderId: string,
    fields: Payment,
    instance: Pick<Instance, "api">,
  ): Promise<string> {
    try {
      return (await settle(orderId, fields, instance)).late ? "settled late" : "settled";
    } catch (error) {
      assert.ok(error instanceof DomainError && error.reason === "ORDER_EXPIRED", String(error));
      return "refund";
    }
  }

  async function kindOf(orderId: string): Promise<string> {
    const { state, late, refundRequired } = await get(orderId);
    if (state === Order_State.SETTLED) return late ? "settled late" : "settled";
    return state === Order_State.EXPIRED && refundRequired ? "refund" : `${state}`;
  }
});
