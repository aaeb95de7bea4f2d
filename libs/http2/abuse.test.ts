/** What a peer may keep the server busy with, or have it remember, has an end. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { ConnectionError, errorCodes, flags, frameTypes, settingIds } from "./frames.ts";
import { headerField } from "./header-field.ts";
import { limits } from "./limits.ts";
import { Output } from "./output.ts";
import { RateLimit } from "./rate-limit.ts";
import { Sender } from "./sender.ts";
import type { ServerStream } from "./stream.ts";
import { Streams } from "./streams.ts";
import {
  blockOf,
  dataFrame,
  frame,
  number32,
  pingFrame,
  pseudoHeaders,
  type RawPeer,
  requestFrame,
  resetFrame,
  settingsFrame,
  windowFrame,
} from "./testing/raw-peer.ts";
import {
  answerAtEnd,
  answerLarge,
  openScene,
  openStuck,
  openWide,
  type Scene,
  until,
} from "./testing/scene.ts";

const { headers, priority, settings, continuation, windowUpdate } = frameTypes;
const { endStream, endHeaders } = flags;
const MEGABYTE = 1_048_576;
const MAX_FRAME_BYTES = 16_384;
const WINDOW_BYTES = MEGABYTE;
const ok = { name: ":status", value: "200" };
const kilobyte = { name: "x-kilobyte", value: "k".repeat(1_024) };

let scene: Scene;

before(async () => {
  scene = await openScene({
    streamWindowBytes: WINDOW_BYTES,
    onRequest: (stream) => {
      const { path } = stream.head;
      if (path === "/kilobyte") stream.respondOnly([ok, kilobyte]);
      if (path === "/large") answerLarge(stream);
      if (path === "/") answerAtEnd(stream);
    },
  });
});

after(() => scene.close());

function streamIds(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 2 * index + 1);
}

/** Streams that were told that nobody wants them any more, each once. */
function goneSince(from: number): ServerStream[] {
  const gone = scene.served.slice(from).filter((stream) => scene.gone.has(stream));
  assert.ok(gone.every((stream) => scene.gone.get(stream) === 1));
  return gone;
}

async function isCalmedDown(peer: RawPeer): Promise<void> {
  await peer.closed();
  assert.match(peer.told().at(-1) ?? "", /^GOAWAY \d+ ENHANCE_YOUR_CALM$/);
}

suite("the connection ends, and ENHANCE_YOUR_CALM is told, by", () => {
  const block = blockOf(pseudoHeaders("/"));

  test("headers of many pieces, however small", async () => {
    const { peer } = await openWide(scene);
    const pieces = (id: number) =>
      Array.from({ length: limits.continuations - 2 }, () => frame(continuation, 0, id));
    peer.send(frame(headers, endStream, 1, block), ...pieces(1), frame(continuation, endHeaders, 1));
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 200 END"]);
    peer.send(frame(headers, endStream, 3, block), ...pieces(3), frame(continuation, 0, 3));
    peer.send(frame(continuation, endHeaders, 3));
    await isCalmedDown(peer);
  });

  test("headers of many bytes", async () => {
    const { peer } = await openWide(scene);
    const piece = Buffer.alloc(MAX_FRAME_BYTES);
    peer.send(frame(headers, endStream, 1, piece));
    for (let bytes = MAX_FRAME_BYTES; bytes <= limits.headerListBytes; bytes += MAX_FRAME_BYTES) {
      peer.send(frame(continuation, 0, 1, piece));
    }
    await isCalmedDown(peer);
  });

  // More than are let through, at a thousand a second, while a slow machine takes them.
  const floods: [what: string, each: (streamId: number) => readonly Buffer[]][] = [
    ["requests that are taken back", (id) => [requestFrame(id, endStream, "/never"), resetFrame(id)]],
    [
      "requests that a window update makes us break off",
      (id) => [requestFrame(id, endStream, "/never"), windowFrame(id, 0)],
    ],
    [
      "requests that a priority makes us break off",
      (id) => [requestFrame(id, endStream, "/never"), frame(priority, 0, id, number32(id))],
    ],
    ["requests that are followed by data", (id) => [requestFrame(id, endStream, "/never"), dataFrame(id, 0)]],
  ];
  for (const [what, each] of floods) {
    test(`${what}, and each is told to whoever serves it`, async () => {
      const { peer, connection } = await openWide(scene);
      const from = scene.served.length;
      peer.send(...streamIds(12_000).flatMap(each));
      // Where nothing ends the connection, this does.
      peer.send(frame(continuation, 0, 1));
      await peer.closed();
      assert.match(peer.told().at(-1) ?? "", /ENHANCE_YOUR_CALM$/);
      assert.equal(connection.open(), 0);
      assert.equal(goneSince(from).length, scene.served.length - from);
    });
  }

  test("data of one stream after the other that is over", async () => {
    const { peer } = await openWide(scene);
    peer.send(...streamIds(12_000).flatMap((id) => [requestFrame(id, endStream), dataFrame(id, 0)]));
    peer.send(frame(continuation, 0, 1));
    await isCalmedDown(peer);
    const told = peer.told().filter((words) => words.endsWith("STREAM_CLOSED"));
    assert.ok(told.length >= limits.strayFrames);
  });

  test("pings whose answers are not read", async () => {
    const { peer, socket, connection } = await openStuck(scene, "/large");
    const brokenBefore = scene.broken.length;
    const waitingBytes = socket.writableLength;
    peer.send(...Array.from({ length: 10 * limits.unsentAnswers }, () => pingFrame("unread")));
    await until("the connection is over", () => connection.open() === 0);
    const [error] = scene.broken.slice(brokenBefore);
    assert.ok(error instanceof ConnectionError && error.code === errorCodes.enhanceYourCalm);
    assert.ok(socket.writableLength < waitingBytes + 65_536);
    peer.destroy();
  });

  test("settings without end, though their answers are read", async () => {
    const { peer } = await openWide(scene);
    const toggled = [0, 65_535].map((bytes) => settingsFrame([[settingIds.initialWindowSize, bytes]]));
    // More than are let through, at ten a second, while a slow machine takes them.
    peer.send(...Array.from({ length: 2 * limits.settings }, () => toggled).flat());
    peer.send(frame(continuation, 0, 1));
    await isCalmedDown(peer);
  });
});

suite("a connection goes on that has", () => {
  test("much data of a stream that is over, which is told once", async () => {
    const { peer } = await openWide(scene);
    const data = dataFrame(1, 0, Buffer.alloc(1_000));
    peer.send(requestFrame(1, endStream), ...Array.from({ length: 12_000 }, () => data));
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 200 END", "RST_STREAM 1 STREAM_CLOSED"]);
    peer.destroy();
  });

  test("many pings, and some settings, whose answers are read", async () => {
    const { peer } = await openWide(scene);
    peer.send(...Array.from({ length: 3 * limits.unsentAnswers }, () => pingFrame("read")));
    // One more is for the greeting.
    peer.send(...Array.from({ length: limits.settings - 1 }, () => settingsFrame()));
    await peer.settle();
    const answers = peer.frames.filter(({ flag, type }) => flag === flags.ack && type === settings);
    assert.equal(answers.length, limits.settings);
    peer.destroy();
  });

  test("more requests at once than there may be, of which the rest are refused", async () => {
    const { peer, connection } = await openWide(scene);
    peer.send(...streamIds(limits.concurrentStreams + 2).map((id) => requestFrame(id, endStream, "/never")));
    await peer.settle();
    const first = 2 * limits.concurrentStreams + 1;
    const refused = [first, first + 2].map((id) => `RST_STREAM ${id} REFUSED_STREAM`);
    assert.deepEqual(peer.told(), refused);
    assert.equal(connection.open(), limits.concurrentStreams);
    // One that is over makes room for another.
    peer.send(resetFrame(1), requestFrame(first + 4, endStream));
    await peer.settle();
    assert.deepEqual(peer.told(), [...refused, `HEADERS ${first + 4} 200 END`]);
    peer.destroy();
  });

  test("sent more of incomplete requests than is kept, of which the largest is broken off", async () => {
    const { peer, connection } = await openWide(scene);
    const count = limits.incompleteBytes / WINDOW_BYTES;
    const pieces = Array.from({ length: WINDOW_BYTES / MAX_FRAME_BYTES }, () =>
      Buffer.alloc(MAX_FRAME_BYTES),
    );
    const whole = (id: number) => [requestFrame(id, 0), ...pieces.map((piece) => dataFrame(id, 0, piece))];
    for (const id of streamIds(count)) peer.send(...whole(id));
    // A stranger, who comes last, is served; of those who keep the same it is the oldest that goes.
    const last = 2 * count + 1;
    peer.send(requestFrame(last, 0), dataFrame(last, 0, Buffer.alloc(1)));
    await peer.settle();
    assert.deepEqual(peer.told(), ["RST_STREAM 1 ENHANCE_YOUR_CALM"]);
    assert.equal(connection.open(), count);
    // What is complete, or taken back, counts no more.
    peer.send(dataFrame(last, endStream), dataFrame(3, endStream), resetFrame(5));
    for (const id of [last + 2, last + 4, last + 6]) peer.send(...whole(id));
    // A request that is complete with what comes keeps nothing.
    peer.send(requestFrame(last + 8, 0), dataFrame(last + 8, endStream, Buffer.alloc(1)));
    await peer.settle();
    const answered = [last, 3, last + 8].map((id) => `HEADERS ${id} 200 END`);
    assert.deepEqual(peer.told().slice(1), answered);
    assert.equal(connection.open(), count);
    peer.destroy();
  });
});

test("requests that are broken off for what a connection keeps are not counted as taken back", async () => {
  const { peer, socket } = await openWide(scene);
  const options = { streamWindowBytes: WINDOW_BYTES, onRequest: () => {} };
  const streams = new Streams(new Sender(new Output(socket)), options);
  const fields = pseudoHeaders("/").map(([name, value]) => headerField(name, value));
  const piece = Buffer.alloc(WINDOW_BYTES);
  for (const id of streamIds(12_000)) {
    streams.open(id, fields, endHeaders);
    streams.takeData(id, piece, 0, piece.length, piece.length, false);
  }
  assert.equal(streams.size(), limits.incompleteBytes / WINDOW_BYTES);
  peer.destroy();
});

test("data beyond windows, which is not kept, makes no room for more that is", async () => {
  const { peer, socket } = await openWide(scene);
  const gone = new Set<number>();
  const streams = new Streams(new Sender(new Output(socket)), {
    streamWindowBytes: WINDOW_BYTES,
    onRequest: (stream) => {
      stream.onGone = () => gone.add(stream.id);
    },
  });
  const fields = pseudoHeaders("/").map(([name, value]) => headerField(name, value));
  const piece = Buffer.alloc(WINDOW_BYTES + 1);
  const count = limits.incompleteBytes / WINDOW_BYTES;
  const ids = streamIds(2 * count + 1);
  for (const [index, id] of ids.entries()) {
    const bytes = index < count ? WINDOW_BYTES + 1 : WINDOW_BYTES;
    streams.open(id, fields, endHeaders);
    streams.takeData(id, piece, 0, bytes, bytes, false);
  }
  assert.deepEqual([...gone], ids.slice(0, count + 1));
  peer.destroy();
});

test("a body that is worked off as it comes may be larger than what is kept", async () => {
  const { peer, socket } = await openWide(scene);
  let received = 0;
  const streams = new Streams(new Sender(new Output(socket)), {
    streamWindowBytes: WINDOW_BYTES,
    onRequest: (stream) => {
      stream.onData = (piece) => {
        received += piece.length;
        stream.consumed(piece.length);
      };
      stream.onGone = () => assert.fail("it was broken off");
    },
  });
  const fields = pseudoHeaders("/").map(([name, value]) => headerField(name, value));
  streams.open(1, fields, endHeaders);
  const piece = Buffer.alloc(WINDOW_BYTES / 2);
  const wanted = 2 * limits.incompleteBytes;
  while (received < wanted) streams.takeData(1, piece, 0, piece.length, piece.length, false);
  assert.equal(received, wanted);
  peer.destroy();
});

test("padding, which nobody works off, does not use up the window of a body", async () => {
  const { peer, socket } = await openWide(scene);
  const windowBytes = 200_000;
  let end = 0;
  const streams = new Streams(new Sender(new Output(socket)), {
    streamWindowBytes: windowBytes,
    onRequest: (stream) => {
      stream.onEnd = () => (end = stream.receivedBytes);
      stream.onGone = () => assert.fail("it was broken off");
    },
  });
  const fields = pseudoHeaders("/").map(([name, value]) => headerField(name, value));
  streams.open(1, fields, endHeaders);
  await peer.settle();
  const piece = Buffer.alloc(1_000);
  // What the peer may send, by what it is told: a frame has a fifth of padding.
  for (let sent = 0; sent < 180; sent += 1) {
    const given = peer.frames.filter(({ type, streamId }) => type === windowUpdate && streamId === 1);
    const granted = given.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), windowBytes);
    assert.ok(granted >= (sent + 1) * 1_250, "the window ran out");
    streams.takeData(1, piece, 0, piece.length, 1_250, sent === 179);
    await peer.settle();
  }
  assert.equal(end, 180_000);
  peer.destroy();
});

test("answers without windows that are not read are bounded, and arrive when they are", async () => {
  const { peer, socket, connection } = await openWide(scene);
  const from = scene.served.length;
  const count = 30_000;
  let mostBytes = 0;
  let steadySince = performance.now();
  let servedBefore = from;
  peer.stopReading();
  peer.send(...streamIds(count).map((id) => requestFrame(id, endStream, "/kilobyte")));
  await until("all are served, or none any more", () => {
    mostBytes = Math.max(mostBytes, socket.writableLength);
    if (scene.served.length !== servedBefore) steadySince = performance.now();
    servedBefore = scene.served.length;
    return servedBefore === from + count || (servedBefore > from && performance.now() - steadySince > 300);
  });
  // A read of the socket is worked off as a whole: some 64 KiB of requests, each with its answer.
  assert.ok(mostBytes < 8 * MEGABYTE, `${mostBytes} bytes wait for a peer that does not read`);
  peer.goOnReading();
  await peer.until("all are answered", () => peer.frames.at(-1)?.streamId === 2 * count - 1);
  assert.equal(connection.open(), 0);
  peer.destroy();
});

test("a rate limit lets its burst through, and then no more at once", () => {
  const limit = new RateLimit(50, 0);
  assert.deepEqual(
    Array.from({ length: 60 }, () => limit.take()),
    Array.from({ length: 60 }, (_, index) => index < 50),
  );
});

test("a rate limit lets no more through than its burst and what time has passed for", async () => {
  const limit = new RateLimit(2, 1_000);
  const startedAt = performance.now();
  let taken = 0;
  await until("some of a second's are through", () => {
    while (limit.take()) taken += 1;
    return taken >= 20;
  });
  assert.ok(taken <= 2 + (performance.now() - startedAt + 1));
});
