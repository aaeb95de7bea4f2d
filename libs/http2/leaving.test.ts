/** A server that leaves: what it has is answered, everybody is told, and what comes then is refused. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { errorCodes, flags, frameTypes, type ServerStream } from "./index.ts";
import { type Http2Server, startHttp2Server } from "./server.ts";
import { openSession } from "./testing/client.ts";
import {
  blockOf,
  dataFrame,
  frame,
  RawPeer,
  requestFrame,
  resetFrame,
  windowFrame,
} from "./testing/raw-peer.ts";
import { nextOf, until } from "./testing/scene.ts";

const ok = { name: ":status", value: "200" };
const broken: Error[] = [];
/** What was handed over, which nobody answers but the tests. */
const served: ServerStream[] = [];
const gone = new Map<ServerStream, number>();

async function start(): Promise<Http2Server> {
  return await startHttp2Server({
    host: "127.0.0.1",
    port: 0,
    onRequest: (stream) => {
      served.push(stream);
      stream.onGone = () => gone.set(stream, (gone.get(stream) ?? 0) + 1);
    },
    streamWindowBytes: 65_535,
    onBroken: (error) => broken.push(error),
  });
}

after(() => assert.deepEqual(broken, []));

test("answers what it has, refuses what comes, takes no connections, and closes", async () => {
  const leaving = await start();
  const client = await openSession(leaving.port);
  const idle = await openSession(leaving.port);
  const idleClosed = once(idle, "close");
  const request = client.request({ ":method": "POST", ":path": "/" });
  const stream = await nextOf(served, () => request.write("begun"));
  const lastIds: number[] = [];
  client.on("goaway", (code: number, lastId: number) => {
    assert.equal(code, errorCodes.noError);
    lastIds.push(lastId);
  });
  await Promise.all([leaving.leave(), leaving.leave()]);
  await idleClosed;
  await until("it has been told", () => lastIds.length === 2);
  assert.deepEqual(lastIds, [2 ** 31 - 1, 1]);
  await assert.rejects(openSession(leaving.port), { code: "ECONNREFUSED" });
  stream.respond([ok]);
  stream.write(Buffer.from("late"));
  stream.finish();
  const [headers] = await once(request, "response");
  assert.equal(headers[":status"], 200);
  assert.equal(Buffer.concat(await request.toArray()).toString(), "late");
  // The request's own end is what the connection still waits for.
  assert.equal(leaving.open(), 1);
  request.end();
  await until("all connections are closed", () => leaving.open() === 0);
  assert.equal(gone.get(stream), undefined);
});

test("tells those too that it has not accepted yet", async () => {
  const leaving = await start();
  // They are the kernel's: of as many as come at once, one is accepted in each turn of the event loop.
  const peers = await Promise.all(Array.from({ length: 20 }, () => RawPeer.connect(leaving.port)));
  assert.ok(leaving.open() < peers.length, "all have been accepted");
  for (const peer of peers) peer.greet();
  await leaving.leave();
  await assert.rejects(openSession(leaving.port), { code: "ECONNREFUSED" });
  for (const peer of peers) {
    await peer.closed();
    assert.deepEqual(peer.told(), ["GOAWAY SOON NO_ERROR", "GOAWAY 0 NO_ERROR"]);
  }
});

test("serves what is sent before its farewell is read, and refuses what comes later", async () => {
  const leaving = await start();
  const peer = await RawPeer.connect(leaving.port);
  peer.greet();
  peer.stopAnswering();
  const first = await nextOf(served, () => peer.send(requestFrame(1, flags.endStream)));
  await leaving.leave();
  const second = await nextOf(served, () => peer.send(requestFrame(3, flags.endStream)));
  const known = served.length;
  peer.goOnAnswering();
  peer.send(requestFrame(5, 0), dataFrame(5, flags.endStream), requestFrame(7, 0), resetFrame(7));
  await peer.settle();
  const told = [
    "GOAWAY SOON NO_ERROR",
    "GOAWAY 3 NO_ERROR",
    "RST_STREAM 5 REFUSED_STREAM",
    "RST_STREAM 7 REFUSED_STREAM",
  ];
  assert.deepEqual(peer.told(), told);
  for (const stream of [first, second]) stream.respondOnly([ok]);
  await peer.closed();
  assert.deepEqual(peer.told(), [...told, "HEADERS 1 200 END", "HEADERS 3 200 END"]);
  assert.equal(served.length, known);
});

test("does not wait for a peer that gives no sign of life", async () => {
  const leaving = await start();
  const peer = await RawPeer.connect(leaving.port);
  peer.greet();
  peer.stopAnswering();
  const stream = await nextOf(served, () => peer.send(requestFrame(1, flags.endStream)));
  await leaving.leave();
  await peer.until("it is told", () => peer.told().length === 2);
  peer.send(requestFrame(3, flags.endStream));
  await peer.settle();
  stream.respondOnly([ok]);
  await peer.closed();
  assert.deepEqual(peer.told(), [
    "GOAWAY SOON NO_ERROR",
    "GOAWAY 1 NO_ERROR",
    "RST_STREAM 3 REFUSED_STREAM",
    "HEADERS 1 200 END",
  ]);
});

const ends: [how: string, sent: Buffer[]][] = [
  ["is taken back", [resetFrame(1)]],
  ["is broken off for a fault", [windowFrame(1, 0)]],
  ["is broken off for its trailers", [frame(frameTypes.headers, flags.endHeaders, 1, blockOf([["a", "b"]]))]],
  ["is broken off for its length", [dataFrame(1, 0, Buffer.alloc(2))]],
];
for (const [how, sent] of ends) {
  test(`closes a connection whose last request ${how}`, async () => {
    const leaving = await start();
    const peer = await RawPeer.connect(leaving.port);
    peer.greet();
    await nextOf(served, () => peer.send(requestFrame(1, 0, "/", [["content-length", "1"]])));
    await leaving.leave();
    await peer.settle();
    peer.send(...sent);
    await peer.closed();
    leaving.destroy();
  });
}

test("closes a connection whose last request was answered and ends by trailers", async () => {
  const leaving = await start();
  const peer = await RawPeer.connect(leaving.port);
  peer.greet();
  const stream = await nextOf(served, () => peer.send(requestFrame(1, 0)));
  await leaving.leave();
  stream.respondOnly([ok]);
  await peer.settle();
  peer.send(frame(frameTypes.headers, flags.endHeaders | flags.endStream, 1, blockOf([["a", "b"]])));
  await peer.closed();
  leaving.destroy();
});

test("is gone at once when it is destroyed, and its streams are told", async () => {
  const leaving = await start();
  const client = await openSession(leaving.port);
  client.on("error", () => {});
  const request = client.request({ ":path": "/" });
  request.on("error", () => {});
  const closed = once(client, "close");
  const stream = await nextOf(served, () => request.resume());
  await leaving.leave();
  leaving.destroy();
  assert.equal(gone.get(stream), 1);
  await closed;
  await until("it is closed", () => leaving.open() === 0);
  assert.equal(gone.get(stream), 1);
});
