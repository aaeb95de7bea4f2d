/** The story of the README, told over each of the four protocols through the gateway. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Health, HealthCheckResponse_ServingStatus } from "#proto/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/grpc/reflection/v1/reflection_pb.ts";
import { Order_State } from "#proto/holdfast/order/v1/order_pb.ts";
import {
  assertConsistent,
  failureOf,
  historyOf,
  PROTOCOLS,
  placeOrder,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

let system: TestSystem;

before(async () => {
  system = await startTestSystem();
});

after(() => system?.stop());

for (const protocol of PROTOCOLS) {
  describe(`over ${protocol}`, () => {
    test("an order reserves stock, and a settled one takes it away for good", async () => {
      const { orders, inventory } = system.over[protocol];
      const sku = `mug-${randomUUID()}`;
      const { item } = await inventory.createItem({
        sku,
        displayName: "Enamel mug",
        requestId: randomUUID(),
      });
      assert.equal(item?.sku, sku);
      const changes = [{ sku, delta: 10 }];
      const { movements } = await inventory.adjustStock({ changes, reason: "delivery" });
      assert.equal(movements[0]?.onHandAfter, 10);

      const lines = [{ sku, quantity: 3, unitAmount: 1_190n }];
      const { order } = await orders.createOrder({ customerId: "ann", lines, currency: "EUR" });
      assert(order?.createTime && order.expireTime);
      assert.equal(stateOf(order), "PENDING");
      assert.equal(order.totalAmount, 3_570n);
      const ttlMs = timestampMs(order.expireTime) - timestampMs(order.createTime);
      assert(Math.abs(ttlMs - 86_400_000) < 5_000, `kept for ${ttlMs} ms`);
      await untilCounters(system, sku, { onHand: 10, reserved: 3 });

      const { orderId } = order;
      const { order: settled } = await orders.settleOrder({ orderId, paymentReference: "card 4711" });
      assert.equal(stateOf(settled), "SETTLED");
      assert.equal(settled?.paymentReference, "card 4711");
      await untilCounters(system, sku, { onHand: 7, reserved: 0 });
      assert.deepEqual(await historyOf(system, orderId), [
        "STATE_UNSPECIFIED > RESERVING by api",
        "RESERVING > PENDING by api",
        "PENDING > SETTLED by api",
      ]);
      await assertConsistent(system, [sku]);
    });

    test("a cancelled order gives its stock back, and can't be settled", async () => {
      const { orders } = system.over[protocol];
      const sku = await receive(system, 5, "cancelled");
      const { orderId } = await placeOrder(system.over[protocol], sku, 5);
      const { order } = await orders.cancelOrder({ orderId, reason: "changed my mind" });
      assert.equal(stateOf(order), "CANCELLED");
      await untilCounters(system, sku, { onHand: 5, reserved: 0 });
      const failure = await failureOf(orders.settleOrder({ orderId }));
      assert.deepEqual([failure.code, failure.reason], ["FailedPrecondition", "ORDER_CANCELLED"]);
      assert.equal(failure.metadata["order_id"], orderId);
    });

    test("an order that nobody pays for expires, and its stock comes back", async () => {
      const sku = await receive(system, 5, "forgotten");
      const { orderId } = await placeOrder(system.over[protocol], sku, 5, 1);
      const expired = await until(
        "the order is expired",
        () => historyOf(system, orderId),
        (rows) => rows.length === 3,
      );
      // A busy machine may sweep before the nudge comes; that nudges do it alone is shown without a sweeper.
      assert.match(expired.at(-1) ?? "", /^PENDING > EXPIRED by (nudge|sweeper)$/);
      const { order } = await system.over[protocol].orders.getOrder({ orderId });
      assert.equal(stateOf(order), "EXPIRED");
      await untilCounters(system, sku, { onHand: 5, reserved: 0 });
    });

    test("an order that the stock can't fill says which line is short, and reserves nothing", async () => {
      const { orders, inventory } = system.over[protocol];
      const [plenty, scarce] = [await receive(system, 100, "plenty"), await receive(system, 2, "scarce")];
      const lines = [
        { sku: plenty, quantity: 1 },
        { sku: scarce, quantity: 3 },
      ];
      const { sufficient, lines: checked } = await inventory.checkStock({ lines });
      assert.equal(sufficient, false);
      assert.deepEqual(Object.fromEntries(checked.map((line) => [line.sku, line.sufficient])), {
        [plenty]: true,
        [scarce]: false,
      });
      const request = { customerId: "ann", lines, requestId: randomUUID() };
      const failure = await failureOf(orders.createOrder(request));
      assert.deepEqual([failure.code, failure.reason], ["FailedPrecondition", "INSUFFICIENT_STOCK"]);
      assert.deepEqual(failure.shortages, [`${scarce}@main: requested 3, available 2`]);
      const orderId = failure.metadata["order_id"] ?? "";
      const { order } = await orders.getOrder({ orderId });
      assert.equal(stateOf(order), "REJECTED");
      await untilCounters(system, plenty, { onHand: 100, reserved: 0 });
    });

    test("a customer's orders are listed newest first, page by page", async () => {
      const { orders } = system.over[protocol];
      const sku = await receive(system, 10, "listed");
      const customerId = `customer-${randomUUID()}`;
      const placed: string[] = [];
      for (let count = 0; count < 5; count++) {
        const { order } = await orders.createOrder({ customerId, lines: [{ sku, quantity: 1 }] });
        placed.unshift(order?.orderId ?? "");
      }
      const listed: string[] = [];
      let pageToken = "";
      do {
        const page = await orders.listOrders({
          customerId,
          state: Order_State.PENDING,
          pageSize: 2,
          pageToken,
        });
        listed.push(...page.orders.map(({ orderId }) => orderId));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      assert.deepEqual(listed, placed);
      const failure = await failureOf(orders.listOrders({ pageToken: "not a token" }));
      assert.deepEqual([failure.reason, failure.fields], ["INVALID_FIELD", ["page_token"]]);
    });

    test("stock that is reserved can't be adjusted away, and is explained", async () => {
      const { inventory } = system.over[protocol];
      const sku = await receive(system, 5, "explained");
      const { orderId } = await placeOrder(system, sku, 4);
      const failure = await failureOf(inventory.adjustStock({ changes: [{ sku, delta: -2 }] }));
      assert.deepEqual([failure.code, failure.reason], ["FailedPrecondition", "STOCK_RESERVED"]);
      const { stock, holders, holderCount } = await inventory.explainStock({ sku });
      assert.deepEqual([stock?.onHand, stock?.reserved, stock?.available], [5, 4, 1]);
      assert.equal(holderCount, 1);
      assert.equal(holders[0]?.owner, `orders/${orderId}`);
      const refusal = await failureOf(inventory.releaseReservation({ reservationId: orderId }));
      assert.equal(refusal.reason, "RESERVATION_OWNED_BY_ORDER");
    });
  });
}

test("JSON is as the README shows it, and Idempotency-Key makes a request repeatable", async () => {
  const sku = await receive(system, 10, "plain-json");
  const post = async () => {
    const response = await fetch(`${system.url}/v1/orders`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": requestId },
      body: JSON.stringify({
        customerId: "ann",
        lines: [{ sku, quantity: 2, unitAmount: 1190 }],
        currency: "EUR",
        ttl: "600s",
      }),
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    const body: unknown = await response.json();
    assert(body instanceof Object && "order" in body && body.order instanceof Object);
    assert.deepEqual(Object.keys(body), ["order"]);
    return new Map<string, unknown>(Object.entries(body.order));
  };
  const requestId = randomUUID();
  const order = await post();
  const { orderId, createTime, updateTime, expireTime, ...rest } = Object.fromEntries(order);
  for (const time of [createTime, updateTime, expireTime]) {
    assert(typeof time === "string");
    assert.match(time, /^\d{4}-\d\d-\d\dT.*Z$/);
  }
  assert.deepEqual(rest, {
    state: "PENDING",
    customerId: "ann",
    lines: [{ sku, quantity: 2, locationId: "main", unitAmount: "1190" }],
    currency: "EUR",
    totalAmount: "2380",
    note: "",
    paymentReference: "",
    cancelReason: "",
    late: false,
    refundRequired: false,
    refundResolution: "",
  });
  const again = await Promise.all([post(), post(), post()]);
  for (const answer of again) assert.equal(answer.get("orderId"), orderId);
  await untilCounters(system, sku, { onHand: 10, reserved: 2 });
});

/** The calls of the README's first order, as its curl commands make them. */
function readFirstOrder(idempotencyKey: string): { path: string; init: RequestInit }[] {
  const readme = readFileSync(join(import.meta.dirname, "../README.md"), "utf8");
  const [, commands = ""] = /^By curl:\n+```sh\n(.*?)\n```/ms.exec(readme) ?? [];
  const lines = commands.replaceAll("\\\n", "").split("\n");
  return lines.map((line) => {
    const [, path, options = ""] = /^curl -s localhost:8080(\S+)(.*)/.exec(line) ?? [];
    assert(path, `it is no call: ${line}`);
    const body = /-d '([^']*)'/.exec(options)?.[1];
    if (body === undefined) return { path, init: {} };
    // What curl says of a body unless it is told otherwise.
    const headers = new Headers({ "content-type": "application/x-www-form-urlencoded" });
    if (options.includes("Idempotency-Key: $(uuidgen)")) headers.set("idempotency-key", idempotencyKey);
    return { path, init: { method: "POST", headers, body } };
  });
}

async function jsonOf(url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  const body: unknown = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return body;
}

test("the README's first order is taken as its curl commands have it, in snake_case", async () => {
  const calls = readFirstOrder(randomUUID());
  const answers: unknown[] = [];
  for (const { path, init } of calls) answers.push(await jsonOf(`${system.url}${path}`, init));
  const [item, adjusted, ordered, stock, ...more] = answers;
  assert.deepEqual(more, []);
  assert.partialDeepStrictEqual(item, {
    item: { sku: "tea", displayName: "Darjeeling, 100 g", state: "ACTIVE" },
  });
  assert.partialDeepStrictEqual(adjusted, {
    movements: [{ sku: "tea", locationId: "main", type: "ADJUST", onHandDelta: 10, reason: "delivery" }],
  });
  assert.partialDeepStrictEqual(ordered, {
    order: {
      state: "PENDING",
      customerId: "ada",
      lines: [{ sku: "tea", quantity: 2, locationId: "main", unitAmount: "1250" }],
      currency: "EUR",
      totalAmount: "2500",
    },
  });
  assert.partialDeepStrictEqual(stock, { stock: { sku: "tea", onHand: 10, reserved: 2, available: 8 } });

  // It is the same request with its fields in camelCase, and at the path that Connect has.
  const { init } = calls[2] ?? {};
  assert(init && typeof init.body === "string");
  const inCamelCase = init.body.replaceAll(/_([a-z])(?=\w*":)/g, (_, letter: string) => letter.toUpperCase());
  assert.match(inCamelCase, /"customerId":.*"unitAmount":/);
  const overConnect = new Headers(init.headers);
  overConnect.set("content-type", "application/json");
  for (const [path, again] of [
    ["/v1/orders", { ...init, body: inCamelCase }],
    ["/holdfast.order.v1.OrderService/CreateOrder", { ...init, headers: overConnect }],
    ["/holdfast.order.v1.OrderService/CreateOrder", { ...init, headers: overConnect, body: inCamelCase }],
  ] as const) {
    assert.deepEqual(await jsonOf(`${system.url}${path}`, again), ordered);
  }
  await untilCounters(system, "tea", { onHand: 10, reserved: 2 });
});

test("a request id goes through the gateway and both services, and comes back", async () => {
  const sku = await receive(system, 10, "traced");
  const id = randomUUID();
  const response = await fetch(`${system.url}/v1/orders`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": id },
    body: JSON.stringify({ customerId: "ann", lines: [{ sku, quantity: 1 }] }),
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-request-id"), id);
  for (const process of ["envoy", "order-1", "inventory-1"]) {
    await until(
      `${process} has logged it`,
      () => system.logOf(process).includes(id),
      (has) => has,
    );
  }
  const made = await fetch(`${system.url}/v1/stock/${sku}`);
  assert.match(made.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
});

test("health and reflection go through the gateway", async () => {
  const response = await fetch(`${system.url}/healthz`);
  assert.equal(response.status, 200);
  const services = { order: "SERVING", inventory: "SERVING" };
  assert.deepEqual(await response.json(), { status: "ok", services });

  const transport = createGrpcTransport({ baseUrl: system.url });
  const health = createClient(Health, transport);
  for (const service of ["", "holdfast.order.v1.OrderService", "holdfast.inventory.v1.InventoryService"]) {
    const { status } = await health.check({ service });
    assert.equal(status, HealthCheckResponse_ServingStatus.SERVING, service);
  }

  async function* ask() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  const names: string[] = [];
  for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(
    ask(),
  )) {
    if (messageResponse.case !== "listServicesResponse") continue;
    names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  assert(names.includes("holdfast.order.v1.OrderService"), names.join());
  assert(names.includes("holdfast.inventory.v1.InventoryService"), names.join());
});

test("a service that is away is UNAVAILABLE, and the health says which one it is", async () => {
  const sku = await receive(system, 10, "away");
  await system.stack.halt("inventory-1");
  await until(
    "the gateway has heard of it",
    async () => (await fetch(`${system.url}/healthz`)).status,
    (status) => status === 503,
  );
  const request = { customerId: "ann", lines: [{ sku, quantity: 1 }], requestId: randomUUID() };
  for (const protocol of PROTOCOLS) {
    const failure = await failureOf(system.over[protocol].orders.createOrder(request));
    assert.deepEqual([failure.code, failure.reason], ["Unavailable", "DEPENDENCY_UNAVAILABLE"], protocol);
  }
  await system.stack.start("inventory-1");
  const { order } = await until(
    "the same request is taken",
    () => system.orders.createOrder(request).catch(() => ({ order: undefined })),
    (answer) => answer.order !== undefined,
  );
  assert.equal(stateOf(order), "PENDING");
  await untilCounters(system, sku, { onHand: 10, reserved: 1 });
});

test("after all this, counters, ledger and reservations agree", () => assertConsistent(system));
