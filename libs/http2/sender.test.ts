/** What is sent keeps to what the peer has room for: bodies to its windows, and to what it reads. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import fc from "fast-check";
import { flags, frameTypes, settingIds } from "./frames.ts";
import { limits } from "./limits.ts";
import { type RawPeer, requestFrame, settingsFrame, windowFrame } from "./testing/raw-peer.ts";
import { openScene, type Scene, until } from "./testing/scene.ts";

const FIRST_WINDOW_BYTES = 65_535;
const MOST_WINDOW = 2 ** 31 - 1;
const BODY_BYTES = 150_000;
const body = Buffer.from(Array.from({ length: BODY_BYTES }, (_, index) => index % 251));

let scene: Scene;

before(async () => {
  scene = await openScene({
    onRequest: (stream) => {
      const pieceBytes = Number(stream.head.path.slice(1));
      stream.respond([{ name: ":status", value: "200" }]);
      for (let from = 0; from < BODY_BYTES; from += pieceBytes) {
        stream.write(body.subarray(from, from + pieceBytes));
      }
      stream.finish([{ name: "x-after", value: "1" }]);
    },
  });
});

after(() => scene.close());

function bodyOf(peer: RawPeer, streamId: number): Buffer {
  const pieces = peer.frames.filter((sent) => sent.type === frameTypes.data && sent.streamId === streamId);
  return Buffer.concat(pieces.map(({ payload }) => payload));
}

function isEnded(peer: RawPeer, streamId: number): boolean {
  return peer.told().includes(`HEADERS ${streamId}  END`);
}

suite("a body", () => {
  // Windows as the peer knows them: what it has room for, and what it was sent.
  const bytes = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 60_000 }));
  const step = fc.oneof(
    fc.record({ what: fc.constant("first" as const), bytes: fc.oneof(fc.constant(0), bytes) }),
    fc.record({ what: fc.constant("connection" as const), bytes }),
    fc.record({ what: fc.constantFrom(1, 3, 5), bytes }),
  );

  test("is sent as far as there is room on its stream and on the connection, and no further", async () => {
    const pieceBytes = fc.constantFrom(1_000, 16_384, 16_385, BODY_BYTES);
    await fc.assert(
      fc.asyncProperty(
        pieceBytes,
        bytes,
        fc.array(step, { maxLength: 15 }),
        async (piece, firstBytes, steps) => {
          const { peer } = await scene.open();
          const ids = [1, 3, 5];
          let first = firstBytes;
          let connectionRoom = FIRST_WINDOW_BYTES;
          const rooms = new Map(ids.map((id) => [id, first]));
          peer.greet([[settingIds.initialWindowSize, first]]);
          for (const id of ids) peer.send(requestFrame(id, flags.endStream, `/${piece}`));
          for (const { what, bytes: more } of [{ what: "connection" as const, bytes: 1 }, ...steps]) {
            if (what === "connection") {
              connectionRoom += more;
              peer.send(windowFrame(0, more));
            } else if (what === "first") {
              for (const id of ids) rooms.set(id, (rooms.get(id) ?? 0) + more - first);
              first = more;
              peer.send(settingsFrame([[settingIds.initialWindowSize, more]]));
            } else {
              rooms.set(what, (rooms.get(what) ?? 0) + more);
              peer.send(windowFrame(what, more));
            }
            await peer.settle();
            assertFits(peer, rooms, connectionRoom);
          }
          peer.destroy();
        },
      ),
      { numRuns: 40 },
    );
  });

  function assertFits(peer: RawPeer, rooms: ReadonlyMap<number, number>, connectionRoom: number): void {
    let sentBytes = 0;
    let couldBytes = 0;
    for (const [id, room] of rooms) {
      const sent = bodyOf(peer, id);
      sentBytes += sent.length;
      assert.ok(sent.equals(body.subarray(0, sent.length)), "it is the beginning of the body");
      assert.equal(isEnded(peer, id), sent.length === BODY_BYTES);
      const unsentBytes = BODY_BYTES - sent.length;
      couldBytes += Math.max(0, Math.min(room - sent.length, unsentBytes));
    }
    assert.ok(
      sentBytes <= connectionRoom,
      `${sentBytes} bytes for a connection with room for ${connectionRoom}`,
    );
    if (sentBytes < connectionRoom) assert.equal(couldBytes, 0, "nothing is kept back without a reason");
  }

  test("does not exceed the window by which its stream was opened", async () => {
    const { peer } = await scene.open();
    peer.greet([[settingIds.initialWindowSize, 10]]);
    peer.send(requestFrame(1, flags.endStream, "/1000"));
    await peer.settle();
    assert.equal(bodyOf(peer, 1).length, 10);
    // A smaller first window may make a stream owe something: it is paid back before more is sent.
    peer.send(settingsFrame([[settingIds.initialWindowSize, 0]]), windowFrame(1, 10));
    await peer.settle();
    assert.equal(bodyOf(peer, 1).length, 10);
    peer.send(windowFrame(1, 7));
    await peer.settle();
    assert.equal(bodyOf(peer, 1).length, 17);
    peer.destroy();
  });

  test("is cut into frames that any peer takes, so that all answers get their turn", async () => {
    for (const asked of [undefined, 16_384, 20_000, 2 ** 24 - 1]) {
      const { peer } = await scene.open();
      peer.greet([
        [settingIds.initialWindowSize, MOST_WINDOW],
        ...(asked === undefined ? [] : [[settingIds.maxFrameSize, asked] as const]),
      ]);
      peer.send(windowFrame(0, BODY_BYTES), requestFrame(1, flags.endStream, `/${BODY_BYTES}`));
      await peer.until("it is complete", () => isEnded(peer, 1));
      assert.ok(bodyOf(peer, 1).equals(body));
      const sizes = peer.frames
        .filter(({ type }) => type === frameTypes.data)
        .map(({ payload }) => payload.length);
      assert.equal(Math.max(...sizes), 16_384);
      peer.destroy();
    }
  });

  test("that its client does not read is kept back, and arrives when it is read", async () => {
    const { peer, socket, connection } = await scene.open();
    const count = 160;
    peer.greet([[settingIds.initialWindowSize, MOST_WINDOW]]);
    peer.send(windowFrame(0, MOST_WINDOW - FIRST_WINDOW_BYTES));
    await peer.settle();
    peer.stopReading();
    let mostBytes = 0;
    for (let index = 0; index < count; index += 1) {
      peer.send(requestFrame(2 * index + 1, flags.endStream, `/${BODY_BYTES}`));
    }
    await until("they are handed over and wait", () => {
      mostBytes = Math.max(mostBytes, socket.writableLength);
      return connection.open() > 0 && mostBytes > limits.unsentBytes;
    });
    const waiting = scene.served.filter((stream) => stream.unsent.length > 0);
    assert.ok(waiting.length > 0);
    // One frame of the largest size goes beyond the limit, and what else is sent of headers.
    assert.ok(mostBytes < limits.unsentBytes + 65_536, `${mostBytes} bytes wait in the socket`);
    peer.goOnReading();
    await peer.until("all is read", () => isEnded(peer, 2 * count - 1) && connection.open() === 0);
    for (let index = 0; index < count; index += 1) assert.ok(bodyOf(peer, 2 * index + 1).equals(body));
    peer.destroy();
  });
});
