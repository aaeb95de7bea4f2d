import assert from "node:assert/strict";
import { once } from "node:events";
import { constants, createServer, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";
import {
  OrderReservationService,
  ReserveOrdersRequestSchema,
  ReserveOrdersResponseSchema,
} from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { ConnectionFailure, callUnary } from "./grpc-client.ts";
import { frameOf } from "./grpc-frame.ts";

const method = OrderReservationService.method.reserveOrders;
const message = create(ReserveOrdersRequestSchema, {});
const answer = frameOf(toBinary(ReserveOrdersResponseSchema, create(ReserveOrdersResponseSchema, {})));
const ok = { ":status": 200, "content-type": "application/grpc+proto" };

const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
});

async function startPeer(take: (stream: ServerHttp2Stream, fields: OutgoingHttpHeaders) => void) {
  const server = createServer();
  server.on("stream", (stream, fields) => {
    stream.on("error", () => {});
    take(stream, fields);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(address !== null && typeof address === "object");
  const sessions = new Http2SessionManager(`http://127.0.0.1:${address.port}`);
  closers.push(() => {
    sessions.abort();
    server.close();
  });
  return (options: { timeoutMs?: number; signal?: AbortSignal; headers?: Headers } = {}) =>
    callUnary(sessions, {
      method,
      message,
      headers: options.headers,
      timeoutMs: options.timeoutMs ?? 5_000,
      signal: options.signal,
      readMaxBytes: 1_000,
    });
}

function respond(stream: ServerHttp2Stream, body: Uint8Array, trailers: OutgoingHttpHeaders): void {
  stream.respond(ok, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(body);
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    assert(performance.now() < deadline, "it did not come about in 5 s");
    await pause(5);
  }
}

function fails(code: Code) {
  return (error: unknown) => {
    assert(error instanceof ConnectError, String(error));
    assert.equal(Code[error.code], Code[code]);
    return true;
  };
}

function hasNoAnswer(wasRefused: boolean) {
  return (error: unknown) => {
    assert(error instanceof ConnectionFailure, String(error));
    assert.equal(error.wasRefused, wasRefused);
    return true;
  };
}

test("a call says what it wants and how long it waits", async () => {
  let asked: OutgoingHttpHeaders = {};
  const call = await startPeer((stream, fields) => {
    asked = fields;
    respond(stream, answer, { "grpc-status": "0", "x-more": "yes" });
  });
  const reply = await call({ timeoutMs: 1_234, headers: new Headers({ "x-request-id": "7" }) });
  assert.deepEqual(reply.message.results, []);
  assert.equal(reply.trailer["x-more"], "yes");
  assert.equal(asked[":path"], "/holdfast.inventory.v1.OrderReservationService/ReserveOrders");
  assert.equal(asked["content-type"], "application/grpc+proto");
  assert.equal(asked["te"], "trailers");
  assert.equal(asked["grpc-timeout"], "1234m");
  assert.equal(asked["x-request-id"], "7");
});

test("an error in the trailers, or in the only fields, is the peer's", async () => {
  const error = { "grpc-status": "9", "grpc-message": "not%20now" };
  const behind = await startPeer((stream) => respond(stream, answer, error));
  await assert.rejects(behind(), fails(Code.FailedPrecondition));
  const alone = await startPeer((stream) => stream.respond({ ...ok, ...error }, { endStream: true }));
  await assert.rejects(
    alone(),
    (thrown) => fails(Code.FailedPrecondition)(thrown) && /not now/.test(String(thrown)),
  );
});

test("an answer that is not one readable message is an internal error", async () => {
  const bodies = {
    none: Buffer.alloc(0),
    cut: answer.subarray(0, 3),
    two: Buffer.concat([answer, answer]),
    compressed: Buffer.from([1, 0, 0, 0, 0]),
    "no message": frameOf(Buffer.from([0xff])),
  };
  for (const [name, body] of Object.entries(bodies)) {
    const call = await startPeer((stream) => respond(stream, body, { "grpc-status": "0" }));
    await assert.rejects(call(), fails(Code.Internal), name);
  }
});

test("an answer beyond the limit is given up", async () => {
  let rstCode: number | undefined;
  const call = await startPeer((stream) => {
    stream.on("close", () => {
      rstCode = stream.rstCode;
    });
    stream.respond(ok);
    stream.write(Buffer.alloc(2_000));
  });
  await assert.rejects(call(), fails(Code.Internal));
  await until(() => rstCode !== undefined);
  assert.equal(rstCode, constants.NGHTTP2_CANCEL);
});

test("somebody on the way who speaks HTTP only is no answer of the peer", async () => {
  const unavailable = await startPeer((stream) => stream.respond({ ":status": 503 }, { endStream: true }));
  await assert.rejects(unavailable(), hasNoAnswer(false));
  const forbidden = await startPeer((stream) => stream.respond({ ":status": 403 }, { endStream: true }));
  await assert.rejects(forbidden(), fails(Code.PermissionDenied));
});

test("a reset is told from a refusal, and both from an answer", async () => {
  const reset = (code: number) => startPeer((stream) => stream.close(code));
  await assert.rejects((await reset(constants.NGHTTP2_REFUSED_STREAM))(), hasNoAnswer(true));
  await assert.rejects((await reset(constants.NGHTTP2_CANCEL))(), hasNoAnswer(false));
  await assert.rejects((await reset(constants.NGHTTP2_INTERNAL_ERROR))(), fails(Code.Internal));
  await assert.rejects((await reset(constants.NGHTTP2_ENHANCE_YOUR_CALM))(), fails(Code.ResourceExhausted));
});

test("a connection that breaks is no answer, before one and in the middle of one", async () => {
  const before = await startPeer((stream) => stream.session?.destroy());
  await assert.rejects(before(), hasNoAnswer(false));
  const within = await startPeer((stream) => {
    stream.respond(ok);
    stream.write(answer.subarray(0, 2), () => stream.session?.destroy());
  });
  await assert.rejects(within(), hasNoAnswer(false));
});

test("nobody is there", async () => {
  const sessions = new Http2SessionManager("http://127.0.0.1:1");
  const call = { method, message, headers: undefined, timeoutMs: 5_000, signal: undefined, readMaxBytes: 1 };
  await assert.rejects(callUnary(sessions, call), hasNoAnswer(false));
});

test("a message that can't be written is an error of its call", async () => {
  const sessions = new Http2SessionManager("http://127.0.0.1:1");
  const tooMany = create(ReserveOrdersRequestSchema, { orders: [{ lines: [{ quantity: 2 ** 40 }] }] });
  const options = { headers: undefined, timeoutMs: 5_000, signal: undefined, readMaxBytes: 1 };
  await assert.rejects(callUnary(sessions, { method, message: tooMany, ...options }), /quantity/);
});

test("a call that nobody waits for any more is taken back", async () => {
  const codes: (number | undefined)[] = [];
  let take = (stream: ServerHttp2Stream) => respond(stream, answer, { "grpc-status": "0" });
  const call = await startPeer((stream) => take(stream));
  // Makes the connection: a call that ends before it is sent leaves nothing to take back.
  await call();
  take = (stream) => void stream.on("close", () => codes.push(stream.rstCode));
  await assert.rejects(call({ timeoutMs: 250 }), fails(Code.DeadlineExceeded));
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(), 250);
  await assert.rejects(call({ signal: leaving.signal }), fails(Code.Canceled));
  await assert.rejects(call({ signal: AbortSignal.abort() }), fails(Code.Canceled));
  await until(() => codes.length === 2);
  assert.deepEqual(codes, [constants.NGHTTP2_CANCEL, constants.NGHTTP2_CANCEL]);
});
