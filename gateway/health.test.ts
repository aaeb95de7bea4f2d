import assert from "node:assert/strict";
import { createServer } from "node:http2";
import { after, before, describe, test } from "node:test";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "#proto/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/grpc/reflection/v1/reflection_pb.ts";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findFreePorts } from "../stack/ports.ts";
import { failureOf, startTestGateway, type TestGateway, waitUntil } from "./testing.ts";

let gateway: TestGateway;
let transports: Record<string, Transport>;

const protocols = ["gRPC", "gRPC-Web", "Connect with JSON", "Connect with protobuf"];

function transportsOf(baseUrl: string): Record<string, Transport> {
  return {
    gRPC: createGrpcTransport({ baseUrl }),
    "gRPC-Web": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect with JSON": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "Connect with protobuf": createConnectTransport({ baseUrl, httpVersion: "2" }),
  };
}

before(async () => {
  gateway = await startTestGateway();
  transports = transportsOf(gateway.url);
});

after(() => gateway.stop());

async function healthz(url = gateway.url): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${url}/healthz`);
  assert.equal(response.headers.get("content-type"), "application/json");
  return { status: response.status, body: await response.json() };
}

async function check(service: string, protocol = "gRPC"): Promise<Serving> {
  const transport = transports[protocol];
  assert.ok(transport);
  return (await createClient(Health, transport).check({ service })).status;
}

/** Makes a service tell that it wants no calls, for as long as `body` runs. */
async function whileNotServing(name: "order" | "inventory", body: () => Promise<void>): Promise<void> {
  gateway[name].server.setServing(false);
  try {
    await body();
  } finally {
    gateway[name].server.setServing(true);
    await waitUntil(async () => (await healthz()).status === 200, "both serve again");
  }
}

describe("GET /healthz", () => {
  test("is 200 while both services serve", async () => {
    const services = { order: "SERVING", inventory: "SERVING" };
    assert.deepEqual(await healthz(), { status: 200, body: { status: "ok", services } });
  });

  test("is 503 and names the service that does not", async () => {
    await whileNotServing("inventory", async () => {
      const services = { order: "SERVING", inventory: "NOT_SERVING" };
      assert.deepEqual(await healthz(), { status: 503, body: { status: "unavailable", services } });
    });
  });

  test("tells a service that is gone, and one that hangs, within two seconds each", async () => {
    const mute = createServer((_request, _response) => {});
    const [mutePort, nobodys] = await findFreePorts(2);
    await new Promise<void>((resolve) => mute.listen(mutePort, "127.0.0.1", resolve));
    const other = await startTestGateway({
      order: [`127.0.0.1:${nobodys}`],
      inventory: [`127.0.0.1:${mutePort}`],
    });
    try {
      const startedAt = performance.now();
      const services = { order: "UNREACHABLE", inventory: "UNREACHABLE" };
      assert.deepEqual(await healthz(other.url), { status: 503, body: { status: "unavailable", services } });
      assert.ok(performance.now() - startedAt < 4_000);
    } finally {
      await other.stop();
      mute.close();
    }
  });
});

describe("grpc.health.v1.Health", () => {
  for (const protocol of protocols) {
    test(`${protocol}: every name is answered by the service that it means`, async () => {
      assert.equal(await check("", protocol), Serving.SERVING);
      assert.equal(await check(OrderService.typeName, protocol), Serving.SERVING);
      assert.equal(await check(InventoryService.typeName, protocol), Serving.SERVING);
    });

    test(`${protocol}: the gateway serves only when both services do`, async () => {
      await whileNotServing("inventory", async () => {
        assert.equal(await check("", protocol), Serving.NOT_SERVING);
        assert.equal(await check(OrderService.typeName, protocol), Serving.SERVING);
        assert.equal(await check(InventoryService.typeName, protocol), Serving.NOT_SERVING);
      });
      await whileNotServing("order", async () => {
        assert.equal(await check("", protocol), Serving.NOT_SERVING);
        assert.equal(await check(OrderService.typeName, protocol), Serving.NOT_SERVING);
        assert.equal(await check(InventoryService.typeName, protocol), Serving.SERVING);
      });
    });

    test(`${protocol}: a service that nobody knows is not found`, async () => {
      for (const name of ["nope", "n".repeat(300)]) {
        assert.equal((await failureOf(check(name, protocol))).code, Code.NotFound);
      }
    });
  }

  test("one service can be watched for longer than any deadline", async () => {
    const transport = transports["gRPC"];
    assert.ok(transport);
    const headers = { "grpc-timeout": "100m" };
    const watch = createClient(Health, transport).watch({ service: InventoryService.typeName }, { headers });
    const seen: Serving[] = [];
    const startedAt = performance.now();
    for await (const { status } of watch) {
      seen.push(status);
      if (seen.length === 2) break;
      // The change is told at the service's next look, some hundred milliseconds later.
      gateway.inventory.server.setServing(false);
    }
    gateway.inventory.server.setServing(true);
    assert.deepEqual(seen, [Serving.SERVING, Serving.NOT_SERVING]);
    assert.ok(performance.now() - startedAt > 100);
  });

  test("the gateway as a whole can be checked, but not watched", async () => {
    const transport = transports["gRPC"];
    assert.ok(transport);
    const watch = createClient(Health, transport).watch({})[Symbol.asyncIterator]();
    assert.equal((await failureOf(watch.next())).code, Code.Unimplemented);
  });
});

describe("reflection", () => {
  async function reflectedServices(): Promise<string[]> {
    const transport = transports["gRPC"];
    assert.ok(transport);
    async function* ask() {
      yield { messageRequest: { case: "listServices" as const, value: "" } };
    }
    for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(
      ask(),
    )) {
      if (messageResponse.case === "listServicesResponse")
        return messageResponse.value.service.map(({ name }) => name);
    }
    throw new Error("there was no answer");
  }

  test("tells the whole public contract", async () => {
    assert.deepEqual(await reflectedServices(), [OrderService.typeName, InventoryService.typeName]);
  });

  test("goes on when order is gone, and so does inventory's part of the API", async () => {
    await gateway.order.stop();
    await waitUntil(async () => (await reflectedServices()).length === 2, "inventory is asked instead");
    assert.equal((await fetch(`${gateway.url}/v1/items`)).status, 200);
    assert.equal((await fetch(`${gateway.url}/v1/orders`)).status, 503);
    assert.equal((await failureOf(check(""))).code, Code.Unavailable);
  });
});
