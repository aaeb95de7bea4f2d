import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import type { RpcMethod } from "./call.ts";
import { createPipeline } from "./pipeline.ts";
import { createGates, shedFailure } from "./shedding.ts";

const limits = { calls: 4, callsAlways: 2, slowMs: 100 };

function methodOf(handle: RpcMethod["handle"]): RpcMethod {
  return { desc: OrderService.method.getOrder, path: "/orders/Get", handle };
}

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
  gate.leave(101);
  assert.equal(gate.enter(), false);
  gate.leave(101);
  assert.ok(gate.enter(), "a few may always be under way");
  gate.leave(99);
  for (let call = 0; call < 3; call += 1) assert.ok(gate.enter());
});

test("each method has a gate of its own", () => {
  const gateOf = createGates(limits);
  const other = methodOf(idle.handle);
  while (gateOf(idle).enter());
  assert.ok(gateOf(other).enter());
});

test("a call that is not let in is answered at once, before its request is read", async () => {
  const pipeline = createPipeline({
    log: pino({ enabled: false }),
    callerOf: () => ({ tenant: "demo", subject: "api" }),
  });
  const pending: (() => void)[] = [];
  const stuck = methodOf(() => new Promise((_, reject) => pending.push(() => reject(new Error("the end")))));
  const incoming = { header: () => undefined, timeoutMs: 30_000, onGone: () => {} };
  const message = {
    $typeName: "holdfast.order.v1.GetOrderRequest",
    orderId: "0189d8b0-0000-7000-8000-00000000000a",
  };
  const under = Array.from({ length: 4_096 }, () => pipeline.run(stuck, incoming, () => message));
  assert.equal(pipeline.refuse(idle, incoming), undefined);
  const early = pipeline.refuse(stuck, incoming);
  assert.ok(early && !early.ok && early.failure === shedFailure);
  const answer = await pipeline.run(stuck, incoming, () => assert.fail("the request was read"));
  assert.ok(!answer.ok);
  assert.equal(answer.failure, shedFailure);
  assert.equal(answer.failure.reason, "OVERLOADED");
  for (const end of pending) end();
  await Promise.all(under);
  assert.equal(pipeline.underWay(), 0);
});
