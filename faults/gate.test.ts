import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { createRpcClient, type RpcServer, service, startRpcServer } from "#libs/rpc";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { type Gate, startGate } from "./gate.ts";

let peer: RpcServer;
let gate: Gate;
before(async () => {
  peer = await startRpcServer({
    address: "127.0.0.1:0",
    services: [service(OrderReservationService, { reserveOrders: async () => ({ results: [] }) })],
    reflected: [],
    log: pino({ level: "silent" }),
  });
  gate = await startGate(peer.address);
});
after(async () => {
  await gate.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 100 });
});

const request = {
  orders: [{ orderId: "0193e5a0-0000-7000-8000-000000000001", lines: [{ sku: "TEA", quantity: 1 }] }],
};

test("a gate counts what passes, and what it refuses or resets in the instance's place", async () => {
  const urls = [`http://${gate.address}`];
  const client = createRpcClient({ urls, service: OrderReservationService, timeoutMs: 5_000 });
  for (let call = 0; call < 5; call += 1) assert.deepEqual((await client.reserveOrders(request)).results, []);
  assert.deepEqual([gate.requests(), gate.refused()], [5, 0]);
  gate.setWeather({ kind: "unavailable", share: 1 });
  const refused = await client.reserveOrders(request).catch(ConnectError.from);
  assert.ok(refused instanceof ConnectError && refused.code === Code.Unavailable);
  assert.equal(refused.details.length, 1, "it looks like an answer of the instance's own");
  gate.setWeather({ kind: "reset", share: 1 });
  const broken = await client.reserveOrders(request).catch(ConnectError.from);
  assert.ok(broken instanceof ConnectError && broken.details.length === 0);
  assert.deepEqual([gate.requests(), gate.refused()], [7, 2]);
  gate.setWeather(undefined);
  assert.deepEqual((await client.reserveOrders(request)).results, []);
});
