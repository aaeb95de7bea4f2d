import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttp2Server, constants as http2, type ServerHttp2Stream } from "node:http2";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { startProxy } from "../../faults/proxy.ts";
import { createRetryBudget, createRpcClient, type RetryBudget, service, startRpcServer } from "./index.ts";

const log = pino({ level: "silent" });
const noFullBacklog = process.platform === "linux" ? false : "other systems refuse when a backlog is full";
const request = {
  orders: [{ orderId: "0193e5a0-0000-7000-8000-000000000001", lines: [{ sku: "TEA", quantity: 1 }] }],
};

function createClient(urls: readonly string[], budget: Pick<RetryBudget, "spend"> = createRetryBudget()) {
  return createRpcClient({ urls, service: OrderReservationService, timeoutMs: 5_000, budget });
}

async function startPeer(answer: () => Promise<{ results: [] }>) {
  return await startRpcServer({
    address: "127.0.0.1:0",
    services: [service(OrderReservationService, { reserveOrders: answer })],
    reflected: [],
    log,
  });
}

async function startTcp(take: (socket: Socket) => void) {
  return await listen(createTcpServer(take));
}

async function startHttp2(take: (stream: ServerHttp2Stream) => void) {
  const server = createHttp2Server();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    take(stream);
  });
  server.on("sessionError", () => {});
  return await listen(server);
}

async function listen(server: Server) {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert(address !== null && typeof address === "object");
  return { url: `http://127.0.0.1:${address.port}`, stop };

  function stop(): void {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

// As an address that is nobody's any more: nothing answers to the wish to connect. Linux does that for a
// server whose backlog is full.
async function startUnreachable() {
  const code = `
    require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () {
      require("node:fs").writeSync(1, String(this.address().port));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = await once(child.stdout, "data");
  const waiting: Socket[] = [];
  for (let connected = true; connected; ) {
    const socket = connect({ port: Number(port), host: "127.0.0.1" });
    waiting.push(socket.on("error", () => {}));
    connected = await Promise.race([once(socket, "connect").then(() => true), pause(200).then(() => false)]);
  }
  return {
    url: `http://127.0.0.1:${Number(port)}`,
    stop: () => {
      for (const socket of waiting) socket.destroy();
      child.kill("SIGKILL");
    },
  };
}

// As an instance that is killed in the middle of its work.
async function startBreaking() {
  return await startHttp2((stream) => stream.session?.destroy());
}

function assertNotSpent(): never {
  assert.fail("a call was counted as a repetition");
}

test("an instance whose connection breaks is passed over", async () => {
  const peer = await startPeer(async () => ({ results: [] }));
  const breaking = await startBreaking();
  const urls = [breaking.url, `http://${peer.address}`];
  const client = createClient(urls, { spend: () => true });
  for (let call = 0; call < 20; call += 1) {
    assert.deepEqual((await client.reserveOrders(request)).results, []);
  }
  breaking.stop();
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
  const client = createClient(urls);
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
  const client = createClient(urls);
  await assert.rejects(client.reserveOrders(request, { signal: AbortSignal.timeout(300) }));
  await assert.rejects(client.reserveOrders(request, { timeoutMs: 300 }));
  assert.equal(calls, 2);
  for (const peer of peers) await peer.stop({ noticeMs: 0, drainTimeoutMs: 100 });
});

test("a call that an instance may have got is given to another one within the budget only", async () => {
  let spent = 0;
  const spend = () => {
    spent += 1;
    return spent <= 3;
  };
  const peer = await startPeer(async () => ({ results: [] }));
  const breaking = await startBreaking();
  const client = createClient([breaking.url, `http://${peer.address}`], { spend });
  const calls = Array.from({ length: 20 }, () => client.reserveOrders(request));
  const failed = (await Promise.allSettled(calls)).filter(({ status }) => status === "rejected").length;
  assert.ok(spent > 3, "the budget was used up");
  assert.equal(failed, spent - 3);
  breaking.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("an instance whose connection broke is left alone for a while", async () => {
  let spent = 0;
  const spend = () => {
    spent += 1;
    return true;
  };
  const peer = await startPeer(async () => ({ results: [] }));
  const breaking = await startBreaking();
  const client = createClient([breaking.url, `http://${peer.address}`], { spend });
  const startedAt = performance.now();
  for (let call = 0; call < 20; call += 1) await client.reserveOrders(request);
  const most = 1 + Math.ceil((performance.now() - startedAt) / 1_000);
  assert.ok(spent >= 1 && spent <= most, `${spent} calls were made again`);
  breaking.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("an instance that is not there is passed over at no cost", async () => {
  const gone = await startPeer(async () => ({ results: [] }));
  await gone.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  const peer = await startPeer(async () => ({ results: [] }));
  const urls = [`http://${gone.address}`, `http://${peer.address}`];
  const client = createClient(urls, { spend: assertNotSpent });
  for (let call = 0; call < 20; call += 1) {
    assert.deepEqual((await client.reserveOrders(request)).results, []);
  }
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("an instance behind a balancer that drops its connections is passed over at no cost", async () => {
  const gone = await startTcp((socket) => {
    socket.once("data", () => socket.resetAndDestroy());
  });
  const peer = await startPeer(async () => ({ results: [] }));
  const client = createClient([gone.url, `http://${peer.address}`], { spend: assertNotSpent });
  const calls = Array.from({ length: 20 }, () => client.reserveOrders(request));
  for (const { results } of await Promise.all(calls)) assert.deepEqual(results, []);
  gone.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("an instance whose machine is gone is passed over, and left alone", {
  skip: noFullBacklog,
}, async () => {
  const gone = await startUnreachable();
  const peer = await startPeer(async () => ({ results: [] }));
  const client = createClient([gone.url, `http://${peer.address}`], { spend: assertNotSpent });
  for (let call = 0; call < 20; call += 1) {
    assert.deepEqual((await client.reserveOrders(request)).results, []);
  }
  gone.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("all instances that a call is given to share its time", async () => {
  const silent = await Promise.all([startTcp(() => {}), startTcp(() => {}), startTcp(() => {})]);
  const client = createClient(silent.map(({ url }) => url));
  const startedAt = performance.now();
  await assert.rejects(client.reserveOrders(request, { timeoutMs: 4_000 }), ConnectError);
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 6_000, `it took ${tookMs} ms`);
  for (const { stop } of silent) stop();
});

test("a call that an instance refuses to take, as it stops, is given to another one at no cost", async () => {
  let refused = 0;
  const stopping = await startHttp2((stream) => {
    refused += 1;
    stream.close(http2.NGHTTP2_REFUSED_STREAM);
  });
  const peer = await startPeer(async () => ({ results: [] }));
  const client = createClient([stopping.url, `http://${peer.address}`], { spend: assertNotSpent });
  const calls = Array.from({ length: 20 }, () => client.reserveOrders(request));
  for (const { results } of await Promise.all(calls)) assert.deepEqual(results, []);
  assert.ok(refused > 0);
  stopping.stop();
  await peer.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

test("an instance that vanishes without a word is noticed in time for another one to answer", async () => {
  const peers = [
    await startPeer(async () => ({ results: [] })),
    await startPeer(async () => ({ results: [] })),
  ];
  const proxies = await Promise.all(peers.map(({ address }) => startProxy(address)));
  const client = createClient(proxies.map(({ address }) => `http://${address}`));
  for (let call = 0; call < 4; call += 1) await client.reserveOrders(request);
  const [first] = proxies;
  first?.halfOpen();
  const startedAt = performance.now();
  const answers = await Promise.all([client.reserveOrders(request), client.reserveOrders(request)]);
  assert.deepEqual(
    answers.map(({ results }) => results),
    [[], []],
  );
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs > 1_000 && tookMs < 4_500, `it took ${tookMs} ms`);
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  for (const peer of peers) await peer.stop({ noticeMs: 0, drainTimeoutMs: 100 });
});
