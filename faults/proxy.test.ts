import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { type FaultProxy, startProxy } from "./proxy.ts";

let server: Server;
let proxy: FaultProxy;
const accepted: Socket[] = [];
const clients: Socket[] = [];

before(async () => {
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => socket.write(`echo ${data.toString()}`));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(() => {
  server.close();
});
beforeEach(async () => {
  const address = server.address();
  assert(address !== null && typeof address === "object");
  proxy = await startProxy(`127.0.0.1:${address.port}`);
});
afterEach(async () => {
  for (const socket of [...clients.splice(0), ...accepted.splice(0)]) socket.destroy();
  await proxy.stop();
});

async function open(): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: Number(proxy.address.split(":")[1]) });
  socket.on("error", () => {});
  clients.push(socket);
  await once(socket, "connect");
  return socket;
}

async function ask(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [data] = await once(socket, "data", { signal: AbortSignal.timeout(5_000) });
  return String(data);
}

async function isSilent(socket: Socket, ms: number): Promise<boolean> {
  try {
    await once(socket, "data", { signal: AbortSignal.timeout(ms) });
    return false;
  } catch {
    return true;
  }
}

// A reset is an error to its socket, which `once` would throw.
function closing(socket: Socket | undefined): Promise<void> {
  return new Promise((resolve) => socket?.once("close", () => resolve()));
}

test("in fair weather everything passes", async () => {
  assert.equal(await ask(await open(), "one"), "echo one");
  assert.deepEqual(proxy.counts(), { connections: 1, keptBack: 0, delayed: 0, resets: 0, halfOpened: 0 });
});

test("with latency an answer takes two delays", async () => {
  const socket = await open();
  proxy.setWeather({ kind: "latency", ms: 100 });
  const startedAt = performance.now();
  assert.equal(await ask(socket, "one"), "echo one");
  assert(performance.now() - startedAt >= 195);
  assert.equal(proxy.counts().delayed, 2);
});

test("a black hole keeps everything back, of new connections too, until it clears", async () => {
  const old = await open();
  assert.equal(await ask(old, "before"), "echo before");
  proxy.setWeather({ kind: "blackHole" });
  const fresh = await open();
  old.write("one");
  fresh.write("two");
  assert(await isSilent(old, 150));
  assert.equal(proxy.counts().keptBack, 2);
  const [answered] = [once(old, "data"), proxy.setWeather({ kind: "pass" })];
  assert.equal(String((await answered)[0]), "echo one");
});

test("a reset ends the connections at once, and a refusing proxy lets none in", async () => {
  const socket = await open();
  assert.equal(await ask(socket, "one"), "echo one");
  const closed = closing(socket);
  proxy.reset();
  await closed;
  proxy.setWeather({ kind: "refuse" });
  const refused = connect({ host: "127.0.0.1", port: Number(proxy.address.split(":")[1]) });
  const [error] = await once(refused, "error");
  assert.equal(error.code, "ECONNRESET");
  assert.equal(proxy.counts().resets, 2);
});

test("a half-open connection looks alive to one side and is gone for the other", async () => {
  const socket = await open();
  assert.equal(await ask(socket, "one"), "echo one");
  const gone = closing(accepted[0]);
  proxy.halfOpen();
  await gone;
  socket.write("two");
  assert(await isSilent(socket, 150));
  assert.equal(socket.destroyed, false);
  assert.equal(await ask(await open(), "three"), "echo three");
});
