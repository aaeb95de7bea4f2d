import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { DomainError } from "#libs/reasons";
import { http } from "#proto/google/api/annotations_pb.ts";
import {
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RetryInfoSchema,
} from "#proto/google/rpc/error_details_pb.ts";
import { InventoryService, Item_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { Order_State, OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { failureOf, startTestGateway, type TestGateway } from "./testing.ts";

const known = "2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b11";
const unknown = "2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b12";
/** An order that is asked for while its service is overloaded. */
const refused = "2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b13";

let gateway: TestGateway;
let transports: Record<string, Transport>;

before(async () => {
  gateway = await startTestGateway();
  const baseUrl = gateway.url;
  transports = {
    gRPC: createGrpcTransport({ baseUrl }),
    "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "gRPC-Web over HTTP/2": createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
    "Connect with JSON": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "Connect with protobuf": createConnectTransport({ baseUrl, httpVersion: "2" }),
    "Connect with GET": createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
  };
  gateway.order.answer(OrderService.method.getOrder, async ({ orderId }) => {
    if (orderId === unknown) {
      throw new DomainError("ORDER_NOT_FOUND", "there is no such order: grüße", {
        metadata: { order_id: orderId },
      });
    }
    if (orderId === refused) {
      throw new DomainError("OVERLOADED", "4,096 calls are waiting already", { retryAfterMs: 1_500 });
    }
    return { order: { orderId, state: Order_State.PENDING, lines: [{ sku: "tea" }] } };
  });
  gateway.order.answer(OrderService.method.createOrder, async ({ lines }) => {
    const shortages = lines.map(({ sku, quantity }) => ({
      sku,
      locationId: "main",
      requested: quantity,
      available: 0,
    }));
    throw new DomainError("INSUFFICIENT_STOCK", "not enough tea", { shortages });
  });
});

after(() => gateway.stop());

async function getJson(path: string, init?: RequestInit): Promise<{ response: Response; body: unknown }> {
  const response = await fetch(`${gateway.url}${path}`, init);
  assert.equal(response.headers.get("content-type"), "application/json");
  return { response, body: await response.json() };
}

describe("each protocol", () => {
  for (const name of [
    "gRPC",
    "gRPC-Web over HTTP/1.1",
    "gRPC-Web over HTTP/2",
    "Connect with JSON",
    "Connect with protobuf",
    "Connect with GET",
  ]) {
    test(`${name} reaches both services`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      const { order } = await createClient(OrderService, transport).getOrder({ orderId: known });
      assert.equal(order?.orderId, known);
      const { items } = await createClient(InventoryService, transport).listItems({});
      assert.deepEqual(items, []);
    });

    test(`${name} carries an error with its details`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      const call = createClient(OrderService, transport).getOrder({ orderId: unknown });
      const error = await failureOf(call);
      assert.equal(error.code, Code.NotFound);
      assert.equal(error.rawMessage, "there is no such order: grüße");
      const [info] = error.findDetails(ErrorInfoSchema);
      assert.equal(info?.reason, "ORDER_NOT_FOUND");
      assert.equal(info?.domain, "holdfast");
      assert.deepEqual(info?.metadata, { order_id: unknown });
    });

    test(`${name} tells when to come back after an overload, and the gateway asks only once`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      const callsBefore = gateway.order.calls.length;
      const error = await failureOf(createClient(OrderService, transport).getOrder({ orderId: refused }));
      assert.equal(error.code, Code.ResourceExhausted);
      assert.equal(error.rawMessage, "4,096 calls are waiting already");
      const [info] = error.findDetails(ErrorInfoSchema);
      assert.deepEqual([info?.reason, info?.domain], ["OVERLOADED", "holdfast"]);
      const [retry] = error.findDetails(RetryInfoSchema);
      assert.ok(retry?.retryDelay);
      assert.equal(durationMs(retry.retryDelay), 1_500);
      assert.equal(gateway.order.calls.length - callsBefore, 1);
    });

    test(`${name} cannot reach the service that is between services only`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      const call = createClient(OrderReservationService, transport).reserveOrders({ orders: [] });
      const error = await failureOf(call);
      assert.equal(error.code, Code.Unimplemented);
      assert.equal(error.rawMessage, "no such method");
      assert.equal(gateway.inventory.calls.filter(({ rpc }) => rpc.includes("OrderReservation")).length, 0);
    });
  }

  test("gRPC-Web as text reaches a service", async () => {
    const type = "application/grpc-web-text";
    const response = await fetch(`${gateway.url}/holdfast.inventory.v1.InventoryService/ListItems`, {
      method: "POST",
      headers: { "content-type": type, accept: type, "x-grpc-web": "1" },
      body: Buffer.alloc(5).toString("base64"),
    });
    assert.match(response.headers.get("content-type") ?? "", /^application\/grpc-web-text/);
    const frames = (await response.text())
      .match(/[^=]+=*/g)
      ?.map((part) => Buffer.from(part, "base64").toString());
    assert.match(frames?.join("") ?? "", /grpc-status:\s*0/);
  });

  test("JSON carries an error as google.rpc.Status with its details", async () => {
    const { response, body } = await getJson("/v1/orders", {
      method: "POST",
      body: JSON.stringify({ customerId: "ann", lines: [{ sku: "tea", quantity: 2 }] }),
    });
    assert.equal(response.status, 400);
    const violation = {
      type: "INSUFFICIENT_STOCK",
      subject: "tea@main",
      description: "requested 2, available 0",
    };
    assert.deepEqual(body, {
      code: 9,
      message: "not enough tea",
      details: [
        {
          "@type": `type.googleapis.com/${ErrorInfoSchema.typeName}`,
          reason: "INSUFFICIENT_STOCK",
          domain: "holdfast",
          metadata: {},
        },
        { "@type": `type.googleapis.com/${PreconditionFailureSchema.typeName}`, violations: [violation] },
      ],
    });
  });

  test("JSON tells when to come back after an overload, and the gateway asks only once", async () => {
    const callsBefore = gateway.order.calls.length;
    const { response, body } = await getJson(`/v1/orders/${refused}`);
    assert.equal(response.status, 429);
    assert.deepEqual(body, {
      code: 8,
      message: "4,096 calls are waiting already",
      details: [
        {
          "@type": `type.googleapis.com/${ErrorInfoSchema.typeName}`,
          reason: "OVERLOADED",
          domain: "holdfast",
          metadata: {},
        },
        { "@type": `type.googleapis.com/${RetryInfoSchema.typeName}`, retryDelay: "1.500s" },
      ],
    });
    assert.equal(gateway.order.calls.length - callsBefore, 1);
  });

  test("JSON prints zeros, empty lists and states, and leaves out what is absent", async () => {
    const { body } = await getJson(`/v1/orders/${known}`);
    assert.deepEqual(body, {
      order: {
        orderId: known,
        state: "PENDING",
        customerId: "",
        lines: [{ sku: "tea", quantity: 0, locationId: "", unitAmount: "0" }],
        currency: "",
        totalAmount: "0",
        note: "",
        paymentReference: "",
        cancelReason: "",
        late: false,
        refundRequired: false,
        refundResolution: "",
      },
    });
    assert.deepEqual((await getJson("/v1/orders")).body, { orders: [], nextPageToken: "" });
  });

  test("JSON reads query parameters, repeated ones and names of states too", async () => {
    gateway.inventory.answer(InventoryService.method.listStock, async ({ skus, pageSize }) => ({
      stock: skus.map((sku) => ({ sku, onHand: pageSize })),
    }));
    const { body } = await getJson("/v1/stock?skus=a&skus=b&page_size=7");
    const zeros = { reserved: 0, available: 0, levels: [] };
    assert.deepEqual(body, {
      stock: [
        { sku: "a", onHand: 7, ...zeros },
        { sku: "b", onHand: 7, ...zeros },
      ],
      nextPageToken: "",
    });
    gateway.inventory.answer(InventoryService.method.listItems, async ({ state }) => {
      assert.equal(state, Item_State.ARCHIVED);
      return {};
    });
    assert.equal((await getJson("/v1/items?state=ARCHIVED&pageSize=1")).response.status, 200);
    gateway.inventory.answer(InventoryService.method.listItems, async () => ({}));
  });

  test("JSON may be as large as the largest page", async () => {
    const lines = Array.from({ length: 100 }, () => ({ sku: "A".repeat(64), quantity: 1_000_000 }));
    gateway.order.answer(OrderService.method.listOrders, async () => ({
      orders: Array.from({ length: 500 }, () => ({ orderId: known, lines })),
    }));
    const response = await fetch(`${gateway.url}/v1/orders?page_size=500`);
    assert.equal(response.status, 200);
    assert.ok((await response.text()).length > 5_000_000);
    gateway.order.answer(OrderService.method.listOrders, async () => ({}));
  });
});

describe("every method of the contract", () => {
  for (const service of [OrderService, InventoryService]) {
    for (const method of service.methods) {
      test(`${service.name}/${method.name} has its JSON path`, async () => {
        const { verb, path } = httpRuleOf(method);
        const response = await fetch(`${gateway.url}${path}`, {
          method: verb,
          ...(verb !== "GET" && { body: "{}" }),
        });
        // Whether the service likes an empty request is its own affair: it was asked.
        assert.ok([200, 400].includes(response.status), `${verb} ${path} is ${response.status}`);
        assert.match(response.headers.get("grpc-accept-encoding") ?? "", /gzip/);
      });

      test(`${service.name}/${method.name} can be called by its name`, async () => {
        const response = await fetch(`${gateway.url}/${service.typeName}/${method.name}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: "{}",
        });
        assert.ok([200, 400].includes(response.status), `it is ${response.status}`);
      });
    }
  }
});

function httpRuleOf(method: DescMethod): { verb: string; path: string } {
  const { pattern } = getOption(method, http);
  if (typeof pattern.value !== "string") throw new Error(`${method.name} has no JSON path`);
  const path = pattern.value.replace(/\{(\w+)\}/g, (_match, field: string) =>
    field === "sku" ? "tea" : known,
  );
  return { verb: (pattern.case ?? "").toUpperCase(), path };
}

describe("headers", () => {
  test("a call gets a request id that the service and the caller both see", async () => {
    const { response } = await getJson(`/v1/orders/${known}`);
    const id = response.headers.get("x-request-id") ?? "";
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.equal(gateway.order.calls.at(-1)?.requestId, id);
  });

  test("a request id of the client's own is kept if it is a UUID, in every protocol", async () => {
    const id = randomUUID();
    const headers = { "x-request-id": id };
    const { response } = await getJson(`/v1/orders/${known}`, { headers });
    assert.equal(response.headers.get("x-request-id"), id);
    for (const transport of Object.values(transports)) {
      const seen: (string | null)[] = [];
      const onHeader = (header: Headers) => seen.push(header.get("x-request-id"));
      await createClient(OrderService, transport).getOrder({ orderId: known }, { headers, onHeader });
      assert.deepEqual(seen, [id]);
      assert.equal(gateway.order.calls.at(-1)?.requestId, id);
    }
  });

  test("a request id that is no UUID is replaced", async () => {
    const headers = { "x-request-id": "robert'); drop table", "x-holdfast-request-id": "also-not" };
    const { response } = await getJson(`/v1/orders/${known}`, { headers });
    assert.match(response.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
  });

  test("an Idempotency-Key reaches the service", async () => {
    const key = randomUUID();
    await getJson(`/v1/orders/${known}:settle`, {
      method: "POST",
      body: "{}",
      headers: { "idempotency-key": key },
    });
    assert.equal(gateway.order.calls.at(-1)?.header("idempotency-key"), key);
  });

  test("a page on localhost may call by gRPC-Web and Connect, another origin may not", async () => {
    const preflight = async (origin: string) => {
      const response = await fetch(`${gateway.url}/holdfast.order.v1.OrderService/GetOrder`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "x-grpc-web",
        },
      });
      return response.headers.get("access-control-allow-origin");
    };
    assert.equal(await preflight("http://localhost:5173"), "http://localhost:5173");
    assert.equal(await preflight("http://localhost.evil.example"), null);
  });
});

describe("deadlines", () => {
  async function msLeftAtService(headers: Record<string, string>): Promise<number> {
    let left = Number.NaN;
    gateway.order.answer(OrderService.method.listOrders, async (_request, call) => {
      left = call.deadline - performance.now();
      return {};
    });
    await fetch(`${gateway.url}/v1/orders`, { headers });
    return left;
  }

  test("a call has 5 s, or what it asks for up to 30 s", async () => {
    const isAbout = (ms: number, expected: number) =>
      assert.ok(ms > expected - 1_000 && ms <= expected, `${ms} ms`);
    isAbout(await msLeftAtService({}), 5_000);
    isAbout(await msLeftAtService({ "grpc-timeout": "20S" }), 20_000);
    isAbout(await msLeftAtService({ "connect-timeout-ms": "12000" }), 12_000);
    isAbout(await msLeftAtService({ "grpc-timeout": "1H" }), 30_000);
    isAbout(await msLeftAtService({ "connect-timeout-ms": "soon" }), 5_000);
  });
});
