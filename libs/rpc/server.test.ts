import assert from "node:assert/strict";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
} from "#proto/google/rpc/error_details_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#proto/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/grpc/reflection/v1/reflection_pb.ts";
import {
  CreateOrderRequestSchema,
  CreateOrderResponseSchema,
  Order_State,
  OrderService,
} from "#proto/holdfast/order/v1/order_pb.ts";
import { type Call, type RpcServer, type RpcService, service, startRpcServer } from "./index.ts";

const seen: { call?: Call; hanging: number } = { hanging: 0 };
const held = Promise.withResolvers<void>();
const orderId = "0190163d-8694-739b-aea5-966c26f8ad90";
const path = "/holdfast.order.v1.OrderService/CreateOrder";

function fakeOrders(): RpcService {
  const unused = async () => await Promise.reject(new Error("a secret of the database"));
  return service(OrderService, {
    createOrder: async (request, call) => {
      seen.call = call;
      if (request.note === "hang") {
        seen.hanging += 1;
        await new Promise((resolve) => call.signal.addEventListener("abort", resolve, { once: true }));
        seen.hanging -= 1;
      }
      if (request.note === "held") await held.promise;
      if (request.note === "unwritable") return { order: { lines: [{ quantity: 2 ** 40 }] } };
      if (request.note === "sold out") {
        const shortages = [{ sku: "tea", locationId: "main", requested: 5, available: 2 }];
        throw new DomainError("INSUFFICIENT_STOCK", "5 of tea were asked for, 2 are available – sorry", {
          shortages,
        });
      }
      return { order: { orderId, state: Order_State.PENDING, note: request.requestId } };
    },
    getOrder: unused,
    listOrders: unused,
    settleOrder: unused,
    cancelOrder: unused,
    extendOrder: unused,
    resolveRefund: unused,
    listOrderHistory: unused,
  });
}

let server: RpcServer;
let session: ClientHttp2Session;
const lines = [{ sku: "tea", quantity: 1 }];

before(async () => {
  server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [fakeOrders()],
    reflected: [OrderService],
    log: pino({ level: "silent" }),
  });
  session = connectHttp2(`http://${server.address}`);
});

after(async () => {
  session.close();
  await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

const transports: readonly [string, () => Transport][] = [
  ["gRPC", () => createGrpcTransport({ baseUrl: `http://${server.address}` })],
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: `http://${server.address}`, httpVersion: "2" })],
  ["Connect", () => createConnectTransport({ baseUrl: `http://${server.address}`, httpVersion: "2" })],
  [
    "Connect JSON",
    () =>
      createConnectTransport({
        baseUrl: `http://${server.address}`,
        httpVersion: "2",
        useBinaryFormat: false,
      }),
  ],
];

for (const [protocol, transportOf] of transports) {
  describe(`over ${protocol}`, () => {
    async function failureOf(
      init: Parameters<typeof create<typeof CreateOrderRequestSchema>>[1],
    ): Promise<ConnectError> {
      return await createClient(OrderService, transportOf())
        .createOrder(init ?? {})
        .then(
          () => assert.fail("the call was answered"),
          (error: unknown) => ConnectError.from(error),
        );
    }

    test("a call is answered, with the request id it came with", async () => {
      const client = createClient(OrderService, transportOf());
      let requestId: string | null = null;
      const answer = await client.createOrder(
        { customerId: "ada", lines },
        {
          headers: { "x-request-id": "trace-1" },
          onHeader: (headers) => (requestId = headers.get("x-request-id")),
        },
      );
      assert.equal(answer.order?.orderId, orderId);
      assert.equal(requestId, "trace-1");
      assert.equal(seen.call?.requestId, "trace-1");
      assert.deepEqual(seen.call?.caller, { tenant: "demo", subject: "api" });
    });

    test("a refusal carries its code, its message and its details", async () => {
      const error = await failureOf({ customerId: "ada", lines, note: "sold out" });
      assert.equal(error.code, Code.FailedPrecondition);
      assert.equal(error.rawMessage, "5 of tea were asked for, 2 are available – sorry");
      const [info] = error.findDetails(ErrorInfoSchema);
      assert.deepEqual([info?.reason, info?.domain], ["INSUFFICIENT_STOCK", "holdfast"]);
      const [violation] = error
        .findDetails(PreconditionFailureSchema)
        .flatMap(({ violations }) => violations);
      assert.equal(violation?.subject, "tea@main");
      assert.equal(violation?.description, "requested 5, available 2");
    });

    test("every field at fault is named", async () => {
      const error = await failureOf({ lines: [{ sku: "-", quantity: 0 }], orderId: "1" });
      assert.equal(error.code, Code.InvalidArgument);
      const fields = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
      assert.deepEqual(
        fields.map(({ field }) => field),
        ["customer_id", "lines[0].sku", "lines[0].quantity", "order_id"],
      );
      assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "INVALID_FIELD");
    });

    test("text that the database can't hold is refused by its path", async () => {
      const error = await failureOf({ customerId: "a\0b", lines });
      assert.equal(error.code, Code.InvalidArgument);
      assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "customer_id");
    });

    test("a defect shows a request id and nothing of its cause", async () => {
      const client = createClient(OrderService, transportOf());
      const error = await client.getOrder({ orderId }, { headers: { "x-request-id": "trace-2" } }).then(
        () => assert.fail("the call was answered"),
        (reason: unknown) => ConnectError.from(reason),
      );
      assert.equal(error.code, Code.Internal);
      assert.match(error.rawMessage, /trace-2/);
      assert.doesNotMatch(JSON.stringify(error), /secret/);
    });

    test("a handler that does not come back is overtaken by the deadline and told", async () => {
      const client = createClient(OrderService, transportOf());
      const started = performance.now();
      await assert.rejects(
        client.createOrder({ customerId: "ada", lines, note: "hang" }, { timeoutMs: 100 }),
        (error: unknown) => ConnectError.from(error).code === Code.DeadlineExceeded,
      );
      assert.ok(performance.now() - started < 2_000);
      await until(() => seen.hanging === 0);
    });

    test("the Idempotency-Key header becomes the request_id, unless the request has one", async () => {
      const client = createClient(OrderService, transportOf());
      const key = "0190163d-8694-739b-aea5-966c26f8ad91";
      const headers = { "idempotency-key": key };
      const byHeader = await client.createOrder({ customerId: "ada", lines }, { headers });
      assert.equal(byHeader.order?.note, key);
      const byField = await client.createOrder({ customerId: "ada", lines, requestId: orderId }, { headers });
      assert.equal(byField.order?.note, orderId);
      const error = await client
        .createOrder({ customerId: "ada", lines }, { headers: { "idempotency-key": "x" } })
        .then(
          () => assert.fail("the call was answered"),
          (reason: unknown) => ConnectError.from(reason),
        );
      assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "request_id");
    });

    test("health and reflection answer", async () => {
      const health = createClient(Health, transportOf());
      assert.equal(
        (await health.check({ service: "holdfast.order.v1.OrderService" })).status,
        ServingStatus.SERVING,
      );
      await assert.rejects(health.check({ service: "other" }), (error: unknown) => {
        return ConnectError.from(error).code === Code.NotFound;
      });
      if (protocol === "gRPC-Web") return;
      const names = await reflectedServices(transportOf());
      assert.deepEqual(names, ["holdfast.order.v1.OrderService"]);
    });
  });
}

async function reflectedServices(transport: Transport): Promise<string[]> {
  async function* questions() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  for await (const answer of createClient(ServerReflection, transport).serverReflectionInfo(questions())) {
    if (answer.messageResponse.case === "listServicesResponse") {
      return answer.messageResponse.value.service.map(({ name }) => name);
    }
  }
  return [];
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, "it did not come about in 5 s");
    await pause(5);
  }
}

type RawAnswer = {
  headers: Record<string, unknown>;
  trailers: Record<string, unknown>;
  body: Buffer;
  headerFrames: number;
};

function post(type: string, body: Buffer, extra: Record<string, string> = {}): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type, ...extra });
    const answer: RawAnswer = { headers: {}, trailers: {}, body: Buffer.alloc(0), headerFrames: 0 };
    stream.on("response", (headers) => {
      answer.headers = headers;
    });
    stream.on("trailers", (trailers) => {
      answer.trailers = trailers;
    });
    stream.on("data", (chunk: Buffer) => {
      answer.body = Buffer.concat([answer.body, chunk]);
    });
    stream.on("close", () => resolve(answer));
    stream.on("error", reject);
    stream.end(body);
  });
}

function frame(message: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const good = toBinary(
  CreateOrderRequestSchema,
  create(CreateOrderRequestSchema, { customerId: "ada", lines }),
);

describe("a unary gRPC call on the wire", () => {
  test("is answered by one message and trailers", async () => {
    const answer = await post("application/grpc", frame(good));
    assert.equal(answer.headers[":status"], 200);
    assert.equal(answer.trailers["grpc-status"], "0");
    assert.equal(fromBinary(CreateOrderResponseSchema, answer.body.subarray(5)).order?.orderId, orderId);
  });

  test("may be compressed with gzip", async () => {
    const answer = await post("application/grpc+proto", frame(gzipSync(good), 1), {
      "grpc-encoding": "gzip",
    });
    assert.equal(answer.trailers["grpc-status"], "0");
  });

  test("is refused by trailers only", async () => {
    const answer = await post("application/grpc", frame(Buffer.alloc(0)));
    assert.equal(answer.headers["grpc-status"], "3");
    assert.deepEqual(answer.trailers, {});
  });

  const invalidUtf8 = Buffer.from([0x0a, 0x02, 0xff, 0xfe]);
  const bomb = gzipSync(Buffer.alloc(8 * 1_048_576));
  for (const [what, body, headers] of [
    ["invalid UTF-8", frame(invalidUtf8), {}],
    ["bytes that are no message", frame(Buffer.from([0xff, 0xff, 0xff])), {}],
    ["an empty body", Buffer.alloc(0), {}],
    ["half a frame", frame(good).subarray(0, 9), {}],
    ["two frames", Buffer.concat([frame(good), frame(good)]), {}],
    ["an unknown encoding", frame(good, 1), { "grpc-encoding": "snappy" }],
    ["a compressed message of 8 MiB", frame(bomb, 1), { "grpc-encoding": "gzip" }],
    ["a message of 1 MiB and a byte", frame(Buffer.alloc(1_048_577)), {}],
  ] as const) {
    test(`with ${what} is INVALID_ARGUMENT`, async () => {
      const answer = await post("application/grpc", body, headers);
      assert.equal(answer.headers["grpc-status"], "3", JSON.stringify(answer.headers));
      assert.ok(answer.headers["grpc-status-details-bin"]);
    });
  }
});

describe("a Connect JSON call on the wire", () => {
  for (const [what, body, field] of [
    ["an unknown field", Buffer.from('{"customerId":"ada","colour":"red"}'), "colour"],
    [
      "a wrong type",
      Buffer.from('{"customerId":"ada","lines":[{"sku":"tea","quantity":"many"}]}'),
      "quantity",
    ],
    ["broken JSON", Buffer.from('{"customerId":'), ""],
    ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), ""],
  ] as const) {
    test(`with ${what} is INVALID_ARGUMENT with ErrorInfo`, async () => {
      const answer = await post("application/json", body);
      assert.equal(answer.headers[":status"], 400, answer.body.toString());
      const error: unknown = JSON.parse(answer.body.toString());
      assert.ok(
        typeof error === "object" && error !== null && "details" in error && Array.isArray(error.details),
      );
      const request = fromBinary(BadRequestSchema, Buffer.from(String(error.details[1].value), "base64"));
      assert.equal(request.fieldViolations[0]?.field, field);
    });
  }
});

test("an answer that is no message of the contract ends its call, and no other", async () => {
  const request = create(CreateOrderRequestSchema, { customerId: "ada", lines, note: "unwritable" });
  await assert.rejects(post("application/grpc", frame(toBinary(CreateOrderRequestSchema, request))), {
    code: "ERR_HTTP2_STREAM_ERROR",
  });
  assert.equal((await post("application/grpc", frame(good))).trailers["grpc-status"], "0");
});

test("1,000 clients that hang up in the middle end neither the process nor a later call", async () => {
  const body = frame(
    toBinary(
      CreateOrderRequestSchema,
      create(CreateOrderRequestSchema, { customerId: "a", lines, note: "hang" }),
    ),
  );
  for (const type of ["application/grpc", "application/proto"]) {
    for (let round = 0; round < 5; round += 1) {
      const hangingBefore = seen.hanging;
      const streams = Array.from({ length: 100 }, () => {
        const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
        stream.on("error", () => {});
        stream.end(type === "application/grpc" ? body : body.subarray(5));
        return stream;
      });
      await until(() => seen.hanging === hangingBefore + 100);
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      await until(() => seen.hanging === 0 && server.underWay() === 0);
    }
  }
  const answer = await post("application/grpc", frame(good));
  assert.equal(answer.trailers["grpc-status"], "0");
});

test("a stopping server answers what it accepted, and tells NOT_SERVING meanwhile", async () => {
  const own = await startRpcServer({
    address: "127.0.0.1:0",
    services: [fakeOrders()],
    reflected: [],
    log: pino({ level: "silent" }),
  });
  const transport = createGrpcTransport({ baseUrl: `http://${own.address}` });
  const watcher = connectHttp2(`http://${own.address}`);
  const call = createClient(OrderService, transport).createOrder(
    { customerId: "ada", lines, note: "held" },
    { timeoutMs: 10_000 },
  );
  await until(() => own.underWay() === 1 && !watcher.connecting);
  const stopping = own.stop({ noticeMs: 1_000, drainTimeoutMs: 10_000 });
  const { status } = await createClient(Health, transport).check({});
  assert.equal(status, ServingStatus.NOT_SERVING);
  // An idle connection ends with the notice; the call is answered only then.
  await until(() => watcher.closed);
  held.resolve();
  assert.equal((await call).order?.orderId, orderId);
  await stopping;
  assert.equal(own.underWay(), 0);
});
