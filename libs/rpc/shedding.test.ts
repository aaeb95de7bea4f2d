import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Stream, connect } from "node:http2";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { GetOrderRequestSchema, OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import type { RpcMethod } from "./call.ts";
import { createPipeline } from "./pipeline.ts";
import { startRpcServer } from "./server.ts";
import { createGates, type GateLimits, shedFailure } from "./shedding.ts";

const limits: GateLimits = {
  calls: 4,
  crowd: { calls: 2, slowMs: 300 },
  overloadCalls: 1,
  overloadMs: 1_000,
};

function methodOf(handle: RpcMethod["handle"]): RpcMethod {
  return { desc: OrderService.method.getOrder, path: "/orders/Get", handle };
}

const message = create(GetOrderRequestSchema, { orderId: "0189d8b0-0000-7000-8000-00000000000a" });
const idle = methodOf(() => Promise.reject(new Error("is never called")));

test("as many calls are let in as the limit says, and another when one has left", () => {
  const gate = createGates(limits)(idle);
  for (let call = 0; call < 4; call += 1) assert.ok(gate.enter());
  assert.equal(gate.enter(), false);
  gate.leave(1);
  assert.ok(gate.enter());
  assert.equal(gate.enter(), false);
});

test("while answers are slow few are let in, and more again when they are quick", () => {
  const gate = createGates(limits)(idle);
  for (let call = 0; call < 3; call += 1) assert.ok(gate.enter());
  gate.leave(301);
  assert.equal(gate.enter(), false);
  gate.leave(301);
  assert.ok(gate.enter(), "a few may always be under way");
  gate.leave(300);
  for (let call = 0; call < 3; call += 1) assert.ok(gate.enter());
});

test("when calls have been refused for a second fewer are let in, until none has been for a second", () => {
  let nowMs = 0;
  const gate = createGates(limits, () => nowMs)(idle);
  const refusals = (): boolean[] => Array.from({ length: 2 }, () => gate.letsIn());
  for (let call = 0; call < 3; call += 1) assert.ok(gate.enter());
  gate.leave(301);
  for (; nowMs <= 1_000; nowMs += 250) assert.deepEqual(refusals(), [false, false], "two are under way");
  gate.leave(301);
  assert.deepEqual(refusals(), [false, false], "one is under way, and it is an overload by now");
  gate.leave(301);
  assert.ok(gate.enter());
  gate.leave(1);
  assert.ok(gate.enter());
  assert.equal(gate.letsIn(), false, "a quick answer makes room for one call, and for no crowd");
  nowMs += 1_001;
  assert.ok(gate.letsIn(), "it is over");
});

test("refusals now and then are no overload", () => {
  let nowMs = 0;
  const gate = createGates(limits, () => nowMs)(idle);
  for (let call = 0; call < 3; call += 1) assert.ok(gate.enter());
  gate.leave(301);
  for (let round = 0; round < 5; round += 1, nowMs += 1_001) assert.equal(gate.letsIn(), false);
  gate.leave(301);
  assert.ok(gate.letsIn(), "a crowd may come still");
});

test("each method has a gate of its own", () => {
  const gateOf = createGates(limits);
  const other = methodOf(idle.handle);
  while (gateOf(idle).enter());
  assert.ok(gateOf(other).enter());
});

test("a call that is not let in is answered at once, before its request is read", async () => {
  const told: [string, boolean][] = [];
  const pipeline = createPipeline({
    log: pino({ enabled: false }),
    observe: (_rpc, outcome, _tookMs, refused) => told.push([outcome, refused]),
    callerOf: () => ({ tenant: "demo", subject: "api" }),
  });
  const pending: (() => void)[] = [];
  const stuck = methodOf(() => new Promise((_, reject) => pending.push(() => reject(new Error("the end")))));
  const incoming = { header: () => undefined, timeoutMs: 30_000, onGone: () => {} };
  const under = Array.from({ length: 4_096 }, () => pipeline.run(stuck, incoming, () => message));
  assert.equal(pipeline.refuse(idle, incoming), undefined);
  const early = pipeline.refuse(stuck, incoming);
  assert.ok(early && !early.ok && early.failure === shedFailure);
  const answer = await pipeline.run(stuck, incoming, () => assert.fail("the request was read"));
  assert.ok(!answer.ok);
  assert.equal(answer.failure, shedFailure);
  assert.equal(answer.failure.reason, "OVERLOADED");
  const refused = ["OVERLOADED", true];
  assert.deepEqual(told, [refused, refused]);
  for (const end of pending) end();
  await Promise.all(under);
  assert.equal(pipeline.underWay(), 0);
  const carried = told
    .slice(2)
    .filter(([outcome, wasRefused]) => outcome === "INTERNAL_ERROR" && !wasRefused);
  assert.equal(carried.length, 4_096);
});

test("whoever counts a server's calls is told which of them were refused at the door", async () => {
  const told: unknown[] = [];
  const pending: (() => void)[] = [];
  const allWait = Promise.withResolvers<void>();
  const handle = () =>
    new Promise<never>((_, reject) => {
      if (pending.push(() => reject(new Error("the end"))) === 4_096) allWait.resolve();
    });
  const method = { ...methodOf(handle), path: "/holdfast.order.v1.OrderService/GetOrder" };
  const server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [{ desc: OrderService, methods: [method] }],
    reflected: [],
    log: pino({ enabled: false }),
    observe: (...call) => told.push(call),
  });
  const frame = Buffer.concat([Buffer.alloc(5), toBinary(GetOrderRequestSchema, message)]);
  frame.writeUInt32BE(frame.length - 5, 1);
  // One connection has room for as many calls as the gate lets in.
  const [crowd, late] = [connect(`http://${server.address}`), connect(`http://${server.address}`)];
  const ask = (session: typeof crowd): ClientHttp2Stream => {
    const headers = { ":method": "POST", ":path": method.path, "content-type": "application/grpc" };
    const stream = session.request({ ...headers, te: "trailers", "grpc-timeout": "30S" });
    stream.resume().end(frame);
    return stream;
  };
  try {
    const asked = Array.from({ length: 4_096 }, () => once(ask(crowd), "close"));
    await allWait.promise;
    await once(ask(late), "close");
    assert.deepEqual(told, [[method.path.slice(1), "OVERLOADED", 0, true]]);
    for (const end of pending) end();
    await Promise.all(asked);
    assert.equal(told.length, 4_097);
  } finally {
    crowd.destroy();
    late.destroy();
    await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
  }
});
