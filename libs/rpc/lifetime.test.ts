/** Where a server is found, and how long it takes to stop. */
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#proto/grpc/health/v1/health_pb.ts";
import { type RpcServer, startRpcServer } from "./index.ts";

const hasIpv6 = Object.values(networkInterfaces()).some((ways) =>
  ways?.some(({ address }) => address === "::1"),
);

async function start(address: string): Promise<RpcServer> {
  return await startRpcServer({ address, services: [], reflected: [], log: pino({ level: "silent" }) });
}

function healthOf(server: RpcServer) {
  return createClient(Health, createGrpcTransport({ baseUrl: `http://${server.address}` }));
}

test("a server listens on an IPv6 address too", { skip: !hasIpv6 }, async () => {
  const server = await start("[::1]:0");
  assert.match(server.address, /^\[::1\]:\d+$/);
  assert.equal((await healthOf(server).check({})).status, ServingStatus.SERVING);
  await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

for (const noticeMs of [0, 100]) {
  test(`who watches health is told of a stop ${noticeMs} ms before, and does not hold it up`, async () => {
    const server = await start("127.0.0.1:0");
    const told: ServingStatus[] = [];
    const watching = (async () => {
      for await (const { status } of healthOf(server).watch({})) told.push(status);
    })();
    const deadline = performance.now() + 5_000;
    while (told.length === 0) {
      assert.ok(performance.now() < deadline, "nothing was told in 5 s");
      await pause(5);
    }
    const startedAt = performance.now();
    await server.stop({ noticeMs, drainTimeoutMs: 10_000 });
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs >= noticeMs && tookMs < noticeMs + 3_000, `the stop took ${tookMs} ms`);
    // Ends as an answer does, not by an error.
    await watching;
    assert.deepEqual(told, [ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
  });
}

test("a process that stood still during its notice gives the rest of it", async () => {
  const server = await start("127.0.0.1:0");
  const noticeMs = 600;
  const stopping = server.stop({ noticeMs, drainTimeoutMs: 1_000 });
  const until = performance.now() + 2 * noticeMs;
  while (performance.now() < until);
  await pause(noticeMs / 2);
  assert.equal((await healthOf(server).check({})).status, ServingStatus.NOT_SERVING);
  await stopping;
});
