/** Answers that wait until their peer makes room have a limit, and take no time as long as he does not. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { flags, settingIds } from "./frames.ts";
import { limits } from "./limits.ts";
import type { ServerStream } from "./stream.ts";
import { type RawPeer, requestFrame, resetFrame, settingsFrame, windowFrame } from "./testing/raw-peer.ts";
import { type Ends, openScene, type Scene } from "./testing/scene.ts";

const MEGABYTE = 1_048_576;
const MOST = limits.waitingBytes / MEGABYTE;
const page = Buffer.alloc(MEGABYTE);

let scene: Scene;
/** What `write` said to each piece of an answer. */
const said = new Map<ServerStream, boolean[]>();

before(async () => {
  scene = await openScene({
    onRequest: (stream) => {
      const pages = Number(stream.head.path.slice(1));
      stream.respond([{ name: ":status", value: "200" }]);
      said.set(
        stream,
        Array.from({ length: pages }, () => stream.write(page)),
      );
      stream.finish();
    },
  });
});

after(() => scene.close());

/** Opens a connection that has room for much, whose streams have none. */
async function openShut(): Promise<Ends> {
  const ends = await scene.open();
  ends.peer.greet([[settingIds.initialWindowSize, 0]]);
  ends.peer.send(windowFrame(0, 512 * MEGABYTE));
  await ends.peer.settle();
  return ends;
}

function asked(from: number, count: number, pages = 1): Buffer[] {
  const ids = Array.from({ length: count }, (_, index) => from + 2 * index);
  return ids.map((id) => requestFrame(id, flags.endStream, `/${pages}`));
}

function brokenOff(peer: RawPeer): string[] {
  return peer.told().filter((words) => words.startsWith("RST_STREAM"));
}

function goneSince(from: number): number[] {
  return scene.served.slice(from).flatMap((stream) => (scene.gone.get(stream) === 1 ? [stream.id] : []));
}

test("above the limit the answer that keeps the most is broken off, of several the oldest", async () => {
  const { peer, connection } = await openShut();
  const from = scene.served.length;
  peer.send(...asked(1, MOST - 6), ...asked(1_001, 1, 4), ...asked(2_001, 2));
  await peer.settle();
  assert.deepEqual(brokenOff(peer), []);
  peer.send(...asked(3_001, 1), ...asked(3_003, 5));
  await peer.settle();
  const cancelled = [1_001, 1, 3].map((id) => `RST_STREAM ${id} CANCEL`);
  assert.deepEqual(brokenOff(peer), cancelled);
  // Whoever serves them is told.
  assert.deepEqual(goneSince(from), [1, 3, 1_001]);
  assert.equal(connection.open(), MOST);
  const kept = scene.served.slice(from).flatMap(({ unsent }) => unsent);
  assert.equal(
    kept.reduce((sum, { length }) => sum + length, 0),
    limits.waitingBytes,
  );
  peer.destroy();
});

test("answers that have left, or are taken back, count no more", async () => {
  const { peer, connection } = await openShut();
  peer.send(...asked(1, MOST));
  await peer.settle();
  // One frame of each leaves, then the rest of some.
  peer.send(settingsFrame([[settingIds.initialWindowSize, 16_384]]));
  peer.send(...[1, 3, 5].map((id) => windowFrame(id, MEGABYTE)), resetFrame(7));
  await peer.until("three have left", () => connection.open() === MOST - 4);
  peer.send(settingsFrame([[settingIds.initialWindowSize, 0]]), ...asked(1_001, 4));
  await peer.settle();
  assert.deepEqual(brokenOff(peer), []);
  // The frames of 16 KiB that left make room for no whole page.
  peer.send(...asked(2_001, 1));
  await peer.settle();
  assert.deepEqual(brokenOff(peer), ["RST_STREAM 1001 CANCEL"]);
  peer.send(settingsFrame([[settingIds.initialWindowSize, MEGABYTE]]));
  await peer.until("all have left", () => connection.open() === 0);
  peer.destroy();
});

test("whoever writes an answer that is broken off is not made to wait", async () => {
  const { peer, connection } = await openShut();
  peer.send(...asked(1, 1, MOST + 2));
  await peer.settle();
  assert.deepEqual(brokenOff(peer), ["RST_STREAM 1 CANCEL"]);
  const stream = scene.served.at(-1);
  assert.ok(stream);
  assert.deepEqual(
    said.get(stream),
    Array.from({ length: MOST + 2 }, (_, index) => index >= MOST),
  );
  assert.equal(connection.open(), 0);
  peer.destroy();
});

test("answers without room of their own are not gone through whenever the connection has more", async () => {
  const { peer } = await openShut();
  const from = scene.served.length;
  peer.send(...asked(1, 40));
  await peer.settle();
  const looks = countLooks(scene.served.slice(from));
  peer.send(...Array.from({ length: 100 }, () => windowFrame(0, 1)));
  await peer.settle();
  assert.ok(looks() <= 40, `they were looked at ${looks()} times`);
  // They go on when they have some, by a grant or by settings.
  peer.send(windowFrame(3, 10), settingsFrame([[settingIds.initialWindowSize, 5]]));
  await peer.settle();
  const sent = peer.told().filter((words) => words.startsWith("DATA"));
  const each = Array.from({ length: 40 }, (_, index) => `DATA ${2 * index + 1} 5`);
  assert.deepEqual(sent.toSorted(), ["DATA 3 10", ...each].toSorted());
  peer.destroy();
});

/** Counts how often the window of one of them is read from now on. */
function countLooks(streams: readonly ServerStream[]): () => number {
  let looks = 0;
  for (const stream of streams) {
    let bytes = stream.sendWindow;
    Object.defineProperty(stream, "sendWindow", {
      get: () => {
        looks += 1;
        return bytes;
      },
      set: (value: number) => {
        bytes = value;
      },
    });
  }
  return () => looks;
}
