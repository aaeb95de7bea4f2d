/** How a connection ends: by silence, by a defect, by its peer, by ourselves. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { ConnectionError, errorCodes, flags, settingIds } from "./frames.ts";
import { limits } from "./limits.ts";
import type { ServerStream } from "./stream.ts";
import { dataFrame, requestFrame, windowFrame } from "./testing/raw-peer.ts";
import {
  answerAtEnd,
  answerLarge,
  openScene,
  openStuck,
  openWide,
  type Scene,
  until,
} from "./testing/scene.ts";

const { endStream } = flags;
const MEGABYTE = 1_048_576;
const MAX_FRAME_BYTES = 16_384;

let scene: Scene;
let defect: Error | undefined;
let onDestroy: (() => void) | undefined;

before(async () => {
  scene = await openScene({
    onRequest: (stream) => {
      const { path } = stream.head;
      if (path === "/defect") throw (defect = new Error("a defect"));
      if (path === "/destroy") onDestroy?.();
      if (path === "/large") answerLarge(stream);
      if (path === "/") answerAtEnd(stream);
    },
  });
});

after(() => scene.close());

/** Streams that were told that nobody wants them any more, each once. */
function goneSince(from: number): ServerStream[] {
  const gone = scene.served.slice(from).filter((stream) => scene.gone.has(stream));
  assert.ok(gone.every((stream) => scene.gone.get(stream) === 1));
  return gone;
}

suite("silence ends", () => {
  const soon = () => performance.now() + 1_000;

  test("a connection whose preface does not come", async () => {
    const { peer, connection } = await scene.open();
    connection.sweep(soon());
    peer.send(Buffer.from("PRI * HT"));
    connection.sweep(soon() + limits.prefaceMs);
    await peer.closed();
    assert.deepEqual(peer.told(), []);
  });

  test("a request that is not completed, but not one that is being served", async () => {
    const { peer, connection } = await openWide(scene);
    const from = scene.served.length;
    peer.send(requestFrame(1, 0, "/never"), requestFrame(3, endStream, "/never"));
    await peer.settle();
    connection.sweep(soon());
    assert.equal(connection.open(), 2);
    connection.sweep(soon() + limits.streamSilenceMs);
    await peer.settle();
    assert.deepEqual(peer.told(), ["RST_STREAM 1 CANCEL"]);
    assert.deepEqual(
      goneSince(from).map(({ id }) => id),
      [1],
    );
    peer.destroy();
  });

  test("no request of which something comes still", async () => {
    const { peer, connection } = await openWide(scene);
    peer.send(requestFrame(1, 0, "/never"));
    await peer.settle();
    const earlier = performance.now();
    peer.send(dataFrame(1, 0, Buffer.alloc(1)));
    await peer.settle();
    connection.sweep(earlier + limits.streamSilenceMs);
    assert.equal(connection.open(), 1);
    peer.destroy();
  });

  test("a request of which only empty pieces come", async () => {
    const { peer, connection } = await openWide(scene);
    peer.send(requestFrame(1, 0, "/never"));
    await peer.settle();
    const earlier = performance.now();
    peer.send(dataFrame(1, 0));
    await peer.settle();
    connection.sweep(earlier + limits.streamSilenceMs);
    assert.equal(connection.open(), 0);
    peer.destroy();
  });

  test("no answer that its client makes room for", async () => {
    const { peer, connection } = await scene.open();
    peer.greet([[settingIds.initialWindowSize, 5]]);
    peer.send(requestFrame(1, endStream, "/large"));
    await peer.settle();
    const earlier = performance.now();
    peer.send(windowFrame(1, 1));
    await peer.settle();
    connection.sweep(earlier + limits.streamSilenceMs);
    assert.equal(connection.open(), 1);
    peer.destroy();
  });

  test("an answer that its client makes no room for", async () => {
    const { peer, connection } = await scene.open();
    const from = scene.served.length;
    peer.greet([[settingIds.initialWindowSize, 5]]);
    peer.send(requestFrame(1, endStream, "/large"));
    await peer.settle();
    connection.sweep(soon());
    connection.sweep(soon() + limits.streamSilenceMs);
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 200", "DATA 1 5", "RST_STREAM 1 CANCEL"]);
    assert.equal(goneSince(from).length, 1);
    peer.destroy();
  });

  test("a connection that leaves, behind its last request", async () => {
    const { peer, connection } = await openWide(scene);
    peer.send(requestFrame(1, 0, "/never"));
    await peer.settle();
    connection.leave();
    await peer.settle();
    connection.sweep(soon() + limits.streamSilenceMs);
    await peer.closed();
    assert.deepEqual(peer.told(), ["GOAWAY SOON NO_ERROR", "GOAWAY 1 NO_ERROR", "RST_STREAM 1 CANCEL"]);
  });

  test("a connection whose peer reads nothing", async () => {
    const { peer, connection, socket } = await openStuck(scene, "/large");
    const from = scene.served.length - 1;
    const now = performance.now();
    connection.sweep(now);
    connection.sweep(now + limits.unsentMs - 1);
    assert.equal(socket.destroyed, false);
    connection.sweep(now + limits.unsentMs + 1);
    assert.equal(socket.destroyed, true);
    assert.equal(goneSince(from).length, 1);
    peer.destroy();
  });

  test("no connection whose peer reads on", async () => {
    const { peer, connection, socket } = await openStuck(scene, "/large");
    let now = performance.now();
    for (let round = 1; round <= 3; round += 1) {
      connection.sweep(now);
      peer.goOnReading();
      await peer.until("some is read", () => peer.frames.length * MAX_FRAME_BYTES > round * 4 * MEGABYTE);
      peer.stopReading();
      await until("the socket is full again", () => socket.writableLength > limits.unsentBytes);
      now += limits.unsentMs * 0.6;
    }
    assert.equal(socket.destroyed, false);
    peer.destroy();
  });
});

suite("a connection that is over", () => {
  test("because of a defect says so, and others go on", async () => {
    const [one, other] = [await openWide(scene), await openWide(scene)];
    one.peer.send(requestFrame(1, endStream, "/never"), requestFrame(3, endStream, "/defect"));
    await one.peer.closed();
    assert.deepEqual(one.peer.told(), ["GOAWAY 3 INTERNAL_ERROR"]);
    const error = scene.broken.at(-1);
    assert.ok(error instanceof ConnectionError && error.code === errorCodes.internalError);
    assert.equal(error.cause, defect);
    assert.equal(one.connection.open(), 0);
    other.peer.send(requestFrame(1, endStream));
    await other.peer.settle();
    assert.deepEqual(other.peer.told(), ["HEADERS 1 200 END"]);
    other.peer.destroy();
  });

  test("because its peer says no more is noticed though it does not read either", async () => {
    const { peer, connection } = await openStuck(scene, "/large");
    const from = scene.served.length - 1;
    const closed = peer.end();
    await until("its streams are over", () => connection.open() === 0);
    assert.equal(goneSince(from).length, 1);
    peer.goOnReading();
    await closed;
  });

  test("wakes whoever waits to write on", async () => {
    const { peer } = await openStuck(scene, "/large");
    let isWoken = false;
    const stream = scene.served.at(-1);
    assert.ok(stream);
    stream.onDrain = () => {
      isWoken = true;
    };
    peer.destroy();
    await until("it is woken", () => isWoken);
    assert.equal(stream.closed, true);
  });

  test("has no more requests, though they came with the last", async () => {
    const { peer, connection, socket } = await openWide(scene);
    const from = scene.served.length;
    onDestroy = () => connection.destroy();
    socket.emit("data", Buffer.concat([1, 3, 5].map((id) => requestFrame(id, endStream, "/destroy"))));
    assert.equal(scene.served.length, from + 1);
    assert.equal(goneSince(from).length, 1);
    assert.equal(connection.open(), 0);
    await peer.closed();
  });
});
