import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http2";
import { after, before, describe, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { parse } from "yaml";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { StatusSchema } from "#proto/google/rpc/status_pb.ts";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findFreePorts } from "../stack/ports.ts";
import { failureOf, startTestGateway, type TestGateway } from "./testing.ts";

const orderId = "2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b11";
/** One byte more than the gateway takes as a JSON body. */
const TOO_LARGE_BYTES = 1_048_577;

let gateway: TestGateway;
let transports: Record<string, Transport>;
/** Takes connections and answers nothing. */
const mute = createServer((_request, _response) => {});

before(async () => {
  const [mutePort, nobodys] = await findFreePorts(2);
  await new Promise<void>((resolve) => mute.listen(mutePort, "127.0.0.1", resolve));
  gateway = await startTestGateway({
    order: [`127.0.0.1:${mutePort}`],
    inventory: [`127.0.0.1:${nobodys}`],
  });
  const baseUrl = gateway.url;
  transports = {
    gRPC: createGrpcTransport({ baseUrl }),
    "gRPC-Web": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    Connect: createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  };
});

after(async () => {
  await gateway.stop();
  mute.close();
});

type Refusal = {
  status: number;
  code: unknown;
  message: string;
  reasons: unknown[];
  requestId: string | null;
};

/** What a JSON client is refused with; it must be a google.rpc.Status whatever went wrong. */
async function refusal(path: string, init?: RequestInit): Promise<Refusal> {
  const response = await fetch(`${gateway.url}${path}`, init);
  assert.equal(response.headers.get("content-type"), "application/json");
  const body: unknown = await response.json();
  assert.ok(typeof body === "object" && body !== null && "code" in body);
  assert.ok("message" in body && typeof body.message === "string" && body.message !== "");
  assert.ok("details" in body && Array.isArray(body.details));
  return {
    status: response.status,
    code: body.code,
    message: body.message,
    reasons: body.details.map((detail) => {
      assert.equal(detail["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
      assert.equal(detail.domain, "holdfast");
      return detail.reason;
    }),
    requestId: response.headers.get("x-request-id"),
  };
}

const post = (body: string | Uint8Array<ArrayBuffer>): RequestInit => ({ method: "POST", body });

describe("a JSON client is told in google.rpc.Status", () => {
  for (const [what, path, method] of [
    ["an unknown path", "/nope", "GET"],
    ["an unknown path below /v1", "/v1/nope", "POST"],
    ["a method that the path does not have", `/v1/orders/${orderId}`, "DELETE"],
    ["an action that the resource does not have", `/v1/orders/${orderId}:refund`, "POST"],
    ["the root", "/", "GET"],
  ] as const) {
    test(`of ${what}: 404`, async () => {
      const { requestId, ...told } = await refusal(path, { method });
      assert.deepEqual(told, { status: 404, code: 5, message: "no such path or method", reasons: [] });
      assert.match(requestId ?? "", /^[0-9a-f-]{36}$/);
    });
  }

  for (const [what, path, init, message] of [
    ["JSON that cannot be parsed", "/v1/orders", post("{bad"), /Expected/],
    ["a body that is no object", "/v1/orders", post("[1]"), /./],
    ["a field of the wrong type", "/v1/orders", post('{"lines":[{"quantity":"x"}]}'), /lines\[0\]\.quantity/],
    ["a number too large", "/v1/orders", post('{"lines":[{"quantity":1e10}]}'), /lines\[0\]\.quantity/],
    ["a body that is not UTF-8", "/v1/orders", post(Uint8Array.of(0x22, 0xff, 0x22)), /UTF-8/],
    ["an unknown query parameter", "/v1/orders?nope=1", {}, /nope/],
    ["an unknown query parameter beside a body", "/v1/orders?nope=1", post("{}"), /nope/],
    ["half a surrogate pair in the body", "/v1/orders", post('{"customerId":"\\ud800"}'), /surrogate/],
    ["a body that is too deep", "/v1/orders", post('{"a":'.repeat(100_000)), /deep/],
    ["a query parameter of the wrong type", "/v1/orders?page_size=x", {}, /page_size/],
    ["a path that is not UTF-8", "/v1/items/%FF", {}, /UTF-8/],
    ["an overlong encoding", "/v1/items/%C0%AF", {}, /UTF-8/],
    ["half a surrogate pair in the query", "/v1/items?page_token=%ED%A0%80", {}, /UTF-8/],
    ["a code point above the last", "/v1/items?page_token=%F4%90%80%80", {}, /UTF-8/],
    ["a stray percent sign", "/v1/items?page_token=100%", {}, /UTF-8/],
    [
      "a header whose name has an underscore",
      "/v1/items",
      { headers: { idempotency_key: "1" } },
      /underscore/,
    ],
  ] as const) {
    test(`of ${what}: 400`, async () => {
      const told = await refusal(path, init);
      assert.deepEqual([told.status, told.code, told.reasons], [400, 3, ["INVALID_FIELD"]]);
      assert.match(told.message, message);
    });
  }

  test("of a body larger than 1 MiB: 413", async () => {
    const told = await refusal("/v1/orders", post("a".repeat(TOO_LARGE_BYTES)));
    assert.deepEqual([told.status, told.code, told.reasons], [413, 3, ["INVALID_FIELD"]]);
  });

  test("of a body larger than 1 MiB whose length is not known before: 413", async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let sent = 0; sent < TOO_LARGE_BYTES; sent += 65_536) controller.enqueue(new Uint8Array(65_536));
        controller.close();
      },
    });
    const told = await refusal("/v1/orders", { method: "POST", body, duplex: "half" });
    assert.deepEqual([told.status, told.code], [413, 3]);
  });

  test("but not of UTF-8 in any number of bytes", async () => {
    // The service is not there: the request was let through to where it is missed.
    assert.equal((await refusal("/v1/items?page_token=%C3%A4%e2%82%ac%F0%9F%8D%B5")).status, 503);
  });

  test("of a service that is not there: 503", async () => {
    const told = await refusal("/v1/items");
    assert.deepEqual([told.status, told.code, told.reasons], [503, 14, ["DEPENDENCY_UNAVAILABLE"]]);
    assert.doesNotMatch(told.message, /connect|upstream|127\.0\.0\.1/i);
  });

  test("of a deadline that passes: 504", async () => {
    const told = await refusal(`/v1/orders/${orderId}`, { headers: { "grpc-timeout": "200m" } });
    assert.deepEqual([told.status, told.code, told.reasons], [504, 4, ["DEADLINE_PASSED"]]);
  });
});

describe("an RPC client is told in its own protocol", () => {
  for (const name of ["gRPC", "gRPC-Web", "Connect"]) {
    test(`${name}: of a service that is not there`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      const error = await failureOf(createClient(InventoryService, transport).listItems({}));
      assert.equal(error.code, Code.Unavailable);
      assert.match(error.rawMessage, /may be repeated/);
      const [info] = error.findDetails(ErrorInfoSchema);
      assert.deepEqual([info?.reason, info?.domain], ["DEPENDENCY_UNAVAILABLE", "holdfast"]);
    });

    test(`${name}: of a deadline that the service let pass`, async () => {
      const transport = transports[name];
      assert.ok(transport);
      // As a header, so that the client's own clock does not come first.
      const headers = name === "Connect" ? { "connect-timeout-ms": "200" } : { "grpc-timeout": "200m" };
      const error = await failureOf(createClient(OrderService, transport).getOrder({ orderId }, { headers }));
      assert.equal(error.code, Code.DeadlineExceeded);
      const [info] = error.findDetails(ErrorInfoSchema);
      assert.deepEqual([info?.reason, info?.domain], ["DEADLINE_PASSED", "holdfast"]);
    });
  }

  test("grpc-js: of a service that is not there", async () => {
    const client = new grpc.Client(new URL(gateway.url).host, grpc.credentials.createInsecure());
    const path = "/holdfast.inventory.v1.InventoryService/ListItems";
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      client.makeUnaryRequest(
        path,
        (value: Buffer) => value,
        (value) => value,
        Buffer.alloc(0),
        resolve,
      );
    });
    client.close();
    assert.equal(error?.code, grpc.status.UNAVAILABLE);
    assert.match(error?.details ?? "", /may be repeated/);
    const [details] = error?.metadata.get("grpc-status-details-bin") ?? [];
    assert.ok(details instanceof Buffer);
    assert.equal(fromBinary(StatusSchema, details).code, Code.Unavailable);
  });

  test("Connect: of a body that Envoy cannot take", async () => {
    const response = await fetch(`${gateway.url}/grpc.health.v1.Health/Check`, {
      ...post(" ".repeat(TOO_LARGE_BYTES)),
      headers: { "content-type": "application/json" },
    });
    const body: unknown = await response.json();
    assert.ok(typeof body === "object" && body !== null && "code" in body);
    assert.deepEqual([response.status, body.code], [413, "invalid_argument"]);
  });
});

test("each reason that is written in base64 is the one that its neighbours say", async () => {
  const text = await readFile(`${import.meta.dirname}/envoy.yaml`, "utf8");
  const config: unknown = parse(text, { maxAliasCount: -1 });
  const infos = [...valuesOf(config, "value")].filter((value) => /^C[A-Za-z0-9]{20,}$/.test(value));
  const reasonOfCode: Record<number, string> = { 4: "DEADLINE_PASSED", 14: "DEPENDENCY_UNAVAILABLE" };
  const found = new Set<string>();
  for (const value of infos) {
    const bytes = Buffer.from(value, "base64");
    // A Status begins with its code (tag 0x08), an ErrorInfo with its reason (tag 0x0a).
    if (bytes[0] !== 0x08) {
      found.add(fromBinary(ErrorInfoSchema, bytes).reason);
      continue;
    }
    const status = fromBinary(StatusSchema, bytes);
    const [detail] = status.details;
    assert.ok(detail);
    assert.equal(anyUnpack(detail, ErrorInfoSchema)?.reason, reasonOfCode[status.code]);
    assert.ok(text.includes(`_text ${status.message}`), "the text is the same without the details");
  }
  assert.deepEqual([...found].sort(), ["DEADLINE_PASSED", "DEPENDENCY_UNAVAILABLE", "INVALID_FIELD"]);
});

function* valuesOf(node: unknown, key: string): Generator<string> {
  if (typeof node !== "object" || node === null) return;
  for (const [name, value] of Object.entries(node)) {
    if (name === key && typeof value === "string") yield value;
    else yield* valuesOf(value, key);
  }
}
