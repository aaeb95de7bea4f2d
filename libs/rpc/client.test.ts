import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { createRpcClient, service, startRpcServer } from "./index.ts";

const log = pino({ level: "silent" });
const request = {
  orders: [{ orderId: "0193e5a0-0000-7000-8000-000000000001", lines: [{ sku: "TEA", quantity: 1 }] }],
};

async function startPeer(answer: () => Promise<{ results: [] }>) {
  return await startRpcServer({
    address: "127.0.0.1:0",
    services: [service(OrderReservationService, { reserveOrders: answer })],
    reflected: [],
    log,
  });
}

// As a balancer does whose instance is gone: the connection is made, and then reset.
async function startResetting() {
  const server = createServer((socket) => {
    socket.once("data", () => socket.resetAndDestroy());
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(address !== null && typeof address === "object");
  return { url: `http://127.0.0.1:${address.port}`, stop: () => server.close() };
}

test("an instance whose connection breaks is passed over", async () => {
  const peer = await startPeer(async () => ({ results: [] }));
  const resetting = await startResetting();
  const urls = [resetting.url, `http://${peer.address}`];
  const client = createRpcClient({ urls, service: OrderReservationService, timeoutMs: 5_000 });
  for (let call = 0; call < 20; call += 1) {
    assert.deepEqual((await client.reserveOrders(request)).results, []);
  }
  resetting.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("what an instance has answered is not asked of another one", async () => {
  let calls = 0;
  const refuse = async (): Promise<never> => {
    calls += 1;
    throw new DomainError("CONFLICT", "others work on the same rows");
  };
  const peers = [await startPeer(refuse), await startPeer(refuse)];
  const urls = peers.map(({ address }) => `http://${address}`);
  const client = createRpcClient({ urls, service: OrderReservationService, timeoutMs: 5_000 });
  await assert.rejects(
    client.reserveOrders(request),
    (error) => error instanceof ConnectError && error.code === Code.Aborted,
  );
  assert.equal(calls, 1);
  for (const peer of peers) await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("a call that its caller has given up is not made again", async () => {
  let calls = 0;
  const wait = async () => {
    calls += 1;
    return await new Promise<never>(() => {});
  };
  const peers = [await startPeer(wait), await startPeer(wait)];
  const urls = peers.map(({ address }) => `http://${address}`);
  const client = createRpcClient({ urls, service: OrderReservationService, timeoutMs: 5_000 });
  await assert.rejects(client.reserveOrders(request, { signal: AbortSignal.timeout(300) }));
  await assert.rejects(client.reserveOrders(request, { timeoutMs: 300 }));
  assert.equal(calls, 2);
  for (const peer of peers) await peer.stop({ noticeMs: 0, drainTimeoutMs: 100 });
});
