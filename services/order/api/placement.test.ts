import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { inTransaction } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { testCall } from "#libs/testing";
import { GetOrderRequestSchema, Order_State } from "#proto/holdfast/order/v1/order_pb.ts";
import type { Refusal, Reserved } from "../domain/reservation.ts";
import { eventsIn, eventually, historyOf, rejectsWith, rowCounts, settling } from "../testing/facts.ts";
import { createRequest, createScene, type Instance, type Scene } from "../testing/scene.ts";

const call = testCall();
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

function placeAt(instance: Instance, requestId: string, orderId = "") {
  return instance.api.createOrder(createRequest({ requestId, orderId }), call);
}

async function stateOf(orderId: string): Promise<Order_State | undefined> {
  const { order } = await scene.api.getOrder(create(GetOrderRequestSchema, { orderId }), call);
  return order?.state;
}

function refusal(fields: Partial<Refusal>): Reserved {
  const standard = { reason: "INSUFFICIENT_STOCK", message: "no", metadata: {}, shortages: [], field: "" };
  return { state: "REFUSED", refusal: { ...standard, ...fields } };
}

const shortages = [{ sku: "tea", locationId: "main", requested: 2, available: 1 }];
const unavailable = () => new DomainError("DEPENDENCY_UNAVAILABLE", "Inventory does not answer");

describe("an order that Inventory refuses", () => {
  it("stays, REJECTED, with its shortages, and its request gets the same error again", async () => {
    scene.inventory.answer = () => refusal({ shortages });
    const requestId = randomUUID();
    const error = await rejectsWith("INSUFFICIENT_STOCK", placeAt(scene, requestId));
    assert.deepEqual(error.data.shortages, shortages);
    scene.inventory.answer = () => ({ state: "RESERVED" });
    const again = await rejectsWith("INSUFFICIENT_STOCK", placeAt(scene, requestId));
    assert.deepEqual([again.message, again.data], [error.message, error.data]);
    const orderId = error.data.metadata?.["order_id"] ?? "";
    const { order } = await scene.api.getOrder(create(GetOrderRequestSchema, { orderId }), call);
    assert.equal(order?.state, Order_State.REJECTED);
    assert.deepEqual(order.rejection?.shortages, shortages);
    assert.deepEqual(await historyOf(scene.sql, orderId), ["1 RESERVING api", "2 REJECTED api"]);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderRejected"]);
  });

  it("stays, REJECTED, when its item is archived", async () => {
    scene.inventory.answer = () =>
      refusal({
        reason: "ITEM_ARCHIVED",
        message: "tea is archived",
        metadata: { sku: "tea" },
        field: "lines[0].sku",
      });
    const requestId = randomUUID();
    const error = await rejectsWith("ITEM_ARCHIVED", placeAt(scene, requestId));
    assert.equal(error.data.metadata?.["sku"], "tea");
    assert.deepEqual(error.data.fields, [{ field: "lines[0].sku", description: "tea is archived" }]);
    const again = await rejectsWith("ITEM_ARCHIVED", placeAt(scene, requestId));
    assert.deepEqual([again.message, again.data], [error.message, error.data]);
  });

  it("leaves nothing behind when its item is unknown, and is judged anew", async () => {
    const unknown = refusal({ reason: "ITEM_NOT_FOUND", message: "no item tea", field: "lines[0].sku" });
    scene.inventory.answer = () => unknown;
    const [requestId, orderId] = [randomUUID(), randomUUID()];
    const error = await rejectsWith("ITEM_NOT_FOUND", placeAt(scene, requestId, orderId));
    assert.deepEqual(
      error.data.fields?.map(({ field }) => field),
      ["lines[0].sku"],
    );
    assert.deepEqual(await rowCounts(scene.sql), { orders: 0, lines: 0, history: 0, requests: 0, outbox: 0 });
    scene.inventory.answer = () => ({ state: "RESERVED" });
    await placeAt(scene, requestId, orderId);
    assert.equal(await stateOf(orderId), Order_State.PENDING);
  });

  it("does not touch its neighbours in the batch", async () => {
    const [good, short, unknown] = [randomUUID(), randomUUID(), randomUUID()];
    scene.inventory.answer = ({ orderId }) => {
      if (orderId === short) return refusal({ shortages });
      return orderId === unknown ? refusal({ reason: "LOCATION_NOT_FOUND" }) : { state: "RESERVED" };
    };
    const outcomes = await Promise.allSettled([good, short, unknown].map((id) => placeAt(scene, "", id)));
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.reason : "OK")),
      ["OK", "INSUFFICIENT_STOCK", "LOCATION_NOT_FOUND"],
    );
    assert.equal(scene.inventory.calls.length, 1);
  });

  it("is taken back when Inventory has too much to do", async () => {
    scene.inventory.answer = () => Promise.reject(new DomainError("OVERLOADED", "too much"));
    await rejectsWith("OVERLOADED", placeAt(scene, randomUUID()));
    assert.equal((await rowCounts(scene.sql))["orders"], 0);
  });

  it("can't have the id of a reservation made directly", async () => {
    scene.inventory.answer = () => refusal({ reason: "RESERVATION_EXISTS" });
    await rejectsWith("ORDER_EXISTS", placeAt(scene, "", randomUUID()));
    assert.equal((await rowCounts(scene.sql))["orders"], 0);
  });
});

describe("an order whose reservation nobody answered", () => {
  it("stays RESERVING, and the same request goes on with it", async () => {
    scene.inventory.answer = () => Promise.reject(unavailable());
    const [requestId, orderId] = [randomUUID(), randomUUID()];
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, requestId, orderId));
    assert.equal(await stateOf(orderId), Order_State.RESERVING);
    scene.inventory.answer = () => ({ state: "RESERVED" });
    const { order } = await placeAt(scene.another(), requestId, orderId);
    assert.deepEqual([order?.orderId, order?.state], [orderId, Order_State.PENDING]);
    assert.deepEqual(await historyOf(scene.sql, orderId), ["1 RESERVING api", "2 PENDING api"]);
  });

  it("stays RESERVING when Inventory has too much to do at the next try", async () => {
    scene.inventory.answer = () => Promise.reject(unavailable());
    const [requestId, orderId] = [randomUUID(), randomUUID()];
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, requestId, orderId));
    scene.inventory.answer = () => Promise.reject(new DomainError("OVERLOADED", "too much"));
    await rejectsWith("OVERLOADED", placeAt(scene.another(), requestId, orderId));
    assert.equal(await stateOf(orderId), Order_State.RESERVING);
    scene.inventory.answer = () => ({ state: "RESERVED" });
    const { order } = await placeAt(scene, requestId, orderId);
    assert.deepEqual([order?.orderId, order?.state], [orderId, Order_State.PENDING]);
  });

  it("is not counted as tried again by a call that uses its request_id for something else", async () => {
    scene.inventory.answer = () => Promise.reject(unavailable());
    const requestId = randomUUID();
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, requestId, randomUUID()));
    await rejectsWith("REQUEST_ID_REUSED", placeAt(scene, requestId, randomUUID()));
    const [row] = await scene.sql`select attempts from orders`;
    assert.deepEqual(row, { attempts: 1 });
  });

  it("can't be settled yet, and says so", async () => {
    scene.inventory.answer = () => Promise.reject(unavailable());
    const orderId = randomUUID();
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, "", orderId));
    const change = { orderId, intent: settling(), request: undefined, correlationId: "" };
    await rejectsWith(
      "CONFLICT",
      scene.changes.change("demo", change, () => false),
    );
  });

  it("is given up by the recovery when it is old, and its request is told so", async () => {
    scene.inventory.answer = () => Promise.reject(unavailable());
    const [requestId, orderId] = [randomUUID(), randomUUID()];
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, requestId, orderId));
    await scene.expiry.recover(30_000);
    assert.equal(await stateOf(orderId), Order_State.RESERVING);
    await scene.sql`update orders set create_time = create_time - interval '31 seconds'`;
    await Promise.all([scene.expiry.recover(30_000), scene.another().expiry.recover(30_000)]);
    assert.deepEqual(await historyOf(scene.sql, orderId), ["1 RESERVING api", "2 REJECTED recovery"]);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned"]);
    scene.inventory.answer = () => ({ state: "RESERVED" });
    const error = await rejectsWith("ORDER_REJECTED", placeAt(scene, requestId, orderId));
    assert.equal(error.data.metadata?.["order_id"], orderId);
    assert.equal(scene.inventory.calls.length, 1);
  });

  it("stays given up when Inventory's answer comes after the recovery", async () => {
    scene.inventory.answer = async () => {
      await scene.sql`update orders set create_time = create_time - interval '31 seconds'`;
      await scene.expiry.recover(30_000);
      return { state: "RESERVED" };
    };
    const orderId = randomUUID();
    const instance = scene.another();
    await rejectsWith("ORDER_REJECTED", placeAt(instance, "", orderId));
    assert.equal(await stateOf(orderId), Order_State.REJECTED);
    // Its stock comes back by this event, whatever Inventory reserved.
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned"]);
    // Nor does the next order of the same second take the nudge for written that this one would have had.
    scene.inventory.answer = () => ({ state: "RESERVED" });
    await placeAt(instance, "", randomUUID());
    const without = await scene.sql`
      select order_id, expire_time
      from orders
      where state = 'PENDING'
        and date_trunc('second', expire_time + interval '999 milliseconds')
          not in (select due_time from nudges)`;
    assert.deepEqual([...without], []);
  });

  it("ends REJECTED when its release came to Inventory first", async () => {
    scene.inventory.answer = () => ({ state: "RELEASED" });
    const orderId = randomUUID();
    await rejectsWith("ORDER_REJECTED", placeAt(scene, randomUUID(), orderId));
    assert.equal(await stateOf(orderId), Order_State.REJECTED);
  });
});

describe("two instances that work at one order", () => {
  // Both have written or found the RESERVING order before Inventory answers either.
  async function race(answers: (index: number) => Promise<Reserved>) {
    const [requestId, orderId] = [randomUUID(), randomUUID()];
    let asked = 0;
    const bothAsk = Promise.withResolvers<void>();
    scene.inventory.answer = async () => {
      asked += 1;
      const index = asked;
      if (asked === 2) bothAsk.resolve();
      await bothAsk.promise;
      return await answers(index);
    };
    const outcomes = await Promise.allSettled([
      placeAt(scene, requestId, orderId),
      placeAt(scene.another(), requestId, orderId),
    ]);
    const reasons = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.reason : "OK"));
    return { orderId, reasons: new Set(reasons) };
  }

  it("give the same answer when it has its stock", async () => {
    const { orderId, reasons } = await race(async () => ({ state: "RESERVED" }));
    assert.deepEqual(reasons, new Set(["OK"]));
    assert.deepEqual(await historyOf(scene.sql, orderId), ["1 RESERVING api", "2 PENDING api"]);
  });

  it("give it up when one was refused and the other may have its stock", async () => {
    const { orderId, reasons } = await race(async (index) => {
      if (index === 1) return refusal({ reason: "ITEM_NOT_FOUND" });
      const isRejected = async () =>
        (await scene.sql`select 1 from orders where state = 'REJECTED'`).length > 0;
      await eventually(isRejected, "the order is given up");
      return { state: "RESERVED" };
    });
    assert.deepEqual(reasons, new Set(["ITEM_NOT_FOUND", "ORDER_REJECTED"]));
    assert.equal(await stateOf(orderId), Order_State.REJECTED);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned"]);
  });

  it("release what comes under its id when one was refused for its stock", async () => {
    const { orderId, reasons } = await race(async (index) => {
      if (index === 1) return refusal({});
      const isRejected = async () =>
        (await scene.sql`select 1 from orders where state = 'REJECTED'`).length > 0;
      await eventually(isRejected, "the order is rejected");
      return { state: "RESERVED" };
    });
    assert.deepEqual(reasons, new Set(["INSUFFICIENT_STOCK"]));
    assert.equal(await stateOf(orderId), Order_State.REJECTED);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned", "OrderRejected"]);
  });
});

describe("an order that Inventory refused at a second try, while the first may still be at work", () => {
  it("is rejected for its stock, and whatever comes under its id is released", async () => {
    scene.inventory.answer = () => ({ ...refusal({}), repeated: true });
    const orderId = randomUUID();
    await rejectsWith("INSUFFICIENT_STOCK", placeAt(scene, "", orderId));
    assert.equal(await stateOf(orderId), Order_State.REJECTED);
    assert.deepEqual(await eventsIn(scene.sql), ["OrderAbandoned", "OrderRejected"]);
  });

  it("stays for a repetition or the recovery when it would be taken back", async () => {
    scene.inventory.answer = () => ({ ...refusal({ reason: "ITEM_NOT_FOUND" }), repeated: true });
    const orderId = randomUUID();
    await rejectsWith("DEPENDENCY_UNAVAILABLE", placeAt(scene, "", orderId));
    assert.equal(await stateOf(orderId), Order_State.RESERVING);
  });
});

describe("an order whose id somebody else is about to take", () => {
  // As another instance would have it, between its insert and its commit.
  async function takeMeanwhile(orderId: string, work: () => Promise<void>): Promise<void> {
    await inTransaction(scene.sql, async (tx) => {
      await tx`
        insert into orders
          (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time)
        values ('demo', ${orderId}, 'RESERVING', 1, 'other', '', '', now(), now())`;
      await tx`
        insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
        values ('demo', ${orderId}, 1, 'tea', '', 1, 0)`;
      await work();
    });
  }

  async function isSomebodyWaiting(): Promise<boolean> {
    const rows = await scene.sql`
      select 1
      from pg_stat_activity
      where datname = current_database()
        and wait_event_type = 'Lock'`;
    return rows.length > 0;
  }

  it("is refused, its request_id stays free, and its neighbours in the batch are placed", async () => {
    const [taken, requestId] = [randomUUID(), randomUUID()];
    let placing: Promise<PromiseSettledResult<unknown>[]> | undefined;
    await takeMeanwhile(taken, async () => {
      placing = Promise.allSettled([
        placeAt(scene, requestId, taken),
        placeAt(scene, randomUUID(), randomUUID()),
        placeAt(scene, "", randomUUID()),
      ]);
      await eventually(isSomebodyWaiting, "the batch waits for the id");
    });
    const outcomes = await placing;
    assert.deepEqual(
      outcomes?.map((outcome) => (outcome.status === "rejected" ? outcome.reason.reason : "OK")),
      ["ORDER_EXISTS", "OK", "OK"],
    );
    const { order } = await placeAt(scene, requestId, randomUUID());
    assert.equal(order?.state, Order_State.PENDING);
  });

  it("is refused, if another of its batch has it", async () => {
    const orderId = randomUUID();
    const outcomes = await Promise.allSettled(
      [randomUUID(), randomUUID()].map((requestId) => placeAt(scene, requestId, orderId)),
    );
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.reason : "OK")),
      ["OK", "ORDER_EXISTS"],
    );
  });
});

describe("a row of an order that should not be there", () => {
  it("is no lost race: its call is told of a defect, and its neighbours are placed", async () => {
    const orderId = randomUUID();
    await scene.sql`
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      values ('demo', ${orderId}, 1, null, 'RESERVING', now(), 'api', '')`;
    const [defect, neighbour] = await Promise.allSettled([
      placeAt(scene, randomUUID(), orderId),
      placeAt(scene, randomUUID()),
    ]);
    assert.equal(neighbour.status, "fulfilled");
    assert.equal(defect.status, "rejected");
    // Not a DomainError, so the caller is told INTERNAL and the log the cause.
    assert.equal(defect.reason.constraint_name, "order_history_key");
    assert.equal((await rowCounts(scene.sql))["orders"], 1);
  });
});
