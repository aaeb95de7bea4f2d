/** Whatever comes, the server does not fall over: frames of every kind, in any turn, right and wrong. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { ConnectionError, errorCodes, flags, frameTypes, settingIds } from "./frames.ts";
import { RepeatedField } from "./header-encoder.ts";
import type { ServerStream } from "./stream.ts";
import { ask, openSession } from "./testing/client.ts";
import {
  blockOf,
  dataFrame,
  frame,
  number32,
  pseudoHeaders,
  requestFrame,
  resetFrame,
  settingsFrame,
  windowFrame,
} from "./testing/raw-peer.ts";
import { answerAtEnd, echo, openScene, type Scene, until } from "./testing/scene.ts";

const { endStream, endHeaders, padded } = flags;
const ok = new RepeatedField(":status", "200");
const often = new RepeatedField("x-often", "repeated");
const large = Buffer.alloc(100_000, "large");

/** What a server may do with a request, by its path. */
const handlers: Readonly<Record<string, (stream: ServerStream) => void>> = {
  "/echo": echo,
  "/end": answerAtEnd,
  "/never": () => {},
  "/early": (stream) => {
    stream.respondOnly([ok, often]);
    stream.stopReading();
  },
  "/open": (stream) => stream.respondOnly([ok]),
  "/reset": (stream) => stream.reset(errorCodes.cancel),
  "/large": (stream) => {
    stream.respond([ok, often]);
    for (let pieces = 0; pieces < 3; pieces += 1) stream.write(large);
    stream.finish([often]);
  },
  "/late": (stream) => {
    setImmediate(() => {
      stream.respond([ok, often]);
      stream.write(Buffer.from("late"));
      setImmediate(() => {
        stream.finish();
        stream.stopReading();
      });
    });
  },
};

let scene: Scene;

before(async () => {
  scene = await openScene({
    streamWindowBytes: 500,
    onRequest: (stream) => handlers[stream.head.path]?.(stream),
  });
});

after(() => scene.close());

/** Makes a frame for a connection on which so many streams have been opened. */
type Draft = { readonly isRequest: boolean; readonly make: (opened: number) => Buffer };

const path = fc.constantFrom(...Object.keys(handlers));
const bytes = fc.uint8Array({ maxLength: 60 });
const ended = fc.constantFrom(0, endStream);
const contentLength = fc.option(fc.nat(70), { freq: 4 });
const moreWindow = mostly(fc.nat(70_000), fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31));
const anyId = fc.constantFrom(0, 1, 2, 3, 99, 2 ** 31 - 1, 2 ** 32 - 1);
const setting = mostly(
  fc.oneof(
    fc.tuple(fc.constant(settingIds.headerTableSize), fc.nat(10_000)),
    fc.tuple(fc.constant(settingIds.initialWindowSize), fc.nat(100_000)),
    fc.tuple(fc.constant(settingIds.maxFrameSize), fc.integer({ min: 16_384, max: 2 ** 24 - 1 })),
  ),
  fc.tuple(fc.nat(9), fc.nat(2 ** 31)),
);

/** Mostly the one, now and then the other. */
function mostly<T>(most: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 12, arbitrary: most }, { weight: 1, arbitrary: rare });
}

/** A frame of a stream that was opened, whichever it is. */
function ofOpened<T>(drawn: fc.Arbitrary<T>, make: (id: number, drawn: T) => Buffer): fc.Arbitrary<Draft> {
  return fc.tuple(fc.nat(1_000), drawn).map(([index, value]) => ({
    isRequest: false,
    make: (opened) => make(2 * (index % Math.max(opened, 1)) + 1, value),
  }));
}

/** A frame that opens the next stream. */
function ofNext<T>(drawn: fc.Arbitrary<T>, make: (id: number, drawn: T) => Buffer): fc.Arbitrary<Draft> {
  return drawn.map((value) => ({ isRequest: true, make: (opened) => make(2 * opened + 1, value) }));
}

const request = ofNext(fc.tuple(ended, path, contentLength), (id, [flag, of, length]) =>
  requestFrame(id, flag, of, length === null ? [] : [["content-length", String(length)]]),
);
const splitRequest = ofNext(fc.nat(60), (id, at) => {
  const block = blockOf(pseudoHeaders("/echo"));
  return Buffer.concat([
    frame(frameTypes.headers, 0, id, block.subarray(0, at)),
    frame(frameTypes.continuation, endHeaders, id, block.subarray(at)),
  ]);
});
const settings = fc.array(setting, { maxLength: 3 }).map((pairs) => settingsFrame(pairs));
const right: fc.Arbitrary<Draft> = fc.oneof(
  { weight: 8, arbitrary: request },
  { weight: 1, arbitrary: splitRequest },
  { weight: 6, arbitrary: ofOpened(fc.tuple(ended, bytes), (id, [flag, body]) => dataFrame(id, flag, body)) },
  { weight: 1, arbitrary: ofOpened(bytes, paddedDataOf) },
  { weight: 3, arbitrary: ofOpened(moreWindow, windowFrame) },
  { weight: 1, arbitrary: moreWindow.map((more) => whole(windowFrame(0, more))) },
  { weight: 2, arbitrary: ofOpened(fc.constant(0), resetFrame) },
  { weight: 1, arbitrary: ofOpened(fc.nat(20), priorityOf) },
  { weight: 1, arbitrary: settings.map(whole) },
);
const trailers = ofOpened(ended, (id, flag) =>
  frame(frameTypes.headers, endHeaders | flag, id, blockOf([["x-after", "1"]])),
);
const wrong: fc.Arbitrary<Draft> = fc.oneof(
  // Wrong behind the end of a request, or if it is not the end.
  { weight: 3, arbitrary: trailers },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(12), fc.nat(255), anyId, bytes).map((drawn) => whole(frame(...drawn))),
  },
  { weight: 1, arbitrary: ofNext(bytes, (id, block) => frame(frameTypes.headers, endHeaders, id, block)) },
  { weight: 1, arbitrary: bytes.map((noise) => whole(Buffer.from(noise))) },
);
const drafts = fc.array(fc.oneof({ weight: 40, arbitrary: right }, { weight: 1, arbitrary: wrong }), {
  minLength: 1,
  maxLength: 60,
  size: "max",
});

function whole(made: Buffer): Draft {
  return { isRequest: false, make: () => made };
}

function priorityOf(id: number, other: number): Buffer {
  return frame(frameTypes.priority, 0, id, Buffer.concat([number32(other), Buffer.of(1)]));
}

function paddedDataOf(id: number, body: Uint8Array): Buffer {
  return dataFrame(id, padded, Buffer.concat([Buffer.of(3), body, Buffer.alloc(3)]));
}

function bytesOf(frames: readonly Draft[]): Buffer {
  let opened = 0;
  return Buffer.concat(
    frames.map(({ isRequest, make }) => {
      const made = make(opened);
      if (isRequest) opened += 1;
      return made;
    }),
  );
}

test("random frames meet no defect, leave nothing behind, and disturb nobody else", async () => {
  const reached = { answered: 0, brokenOff: 0, ended: 0, gone: 0 };
  const session = await openSession(scene.port);
  await fc.assert(
    fc.asyncProperty(request, drafts, fc.nat(1_000), async (first, others, cut) => {
      const servedBefore = scene.served.length;
      const brokenBefore = scene.broken.length;
      const { peer, connection, socket } = await scene.open();
      peer.greet();
      const all = bytesOf([first, ...others]);
      peer.send(all.subarray(0, cut));
      peer.send(all.subarray(cut));
      await until("all has been read", () => peer.isClosed || socket.bytesRead >= 33 + all.length);
      await peer.end();
      await until("nothing is kept", () => connection.open() === 0 && socket.closed);
      const defects = scene.broken.slice(brokenBefore).filter(isDefect);
      assert.deepEqual(defects, []);
      for (const stream of scene.served.slice(servedBefore)) {
        assert.ok(stream.closed);
        assert.equal(stream.unsent.length, 0);
        const goneCount = scene.gone.get(stream) ?? 0;
        assert.ok(goneCount <= 1);
        reached.gone += goneCount;
      }
      for (const words of peer.told()) {
        if (words.startsWith("HEADERS")) reached.answered += 1;
        if (words.startsWith("RST_STREAM")) reached.brokenOff += 1;
        if (words.startsWith("GOAWAY")) reached.ended += 1;
      }
      const { headers } = await ask(session, { path: "/end" });
      assert.equal(headers[":status"], 200);
    }),
    { numRuns: 200 },
  );
  session.destroy();
  // What was drawn went deep enough to have met something.
  for (const [what, count] of Object.entries(reached)) assert.ok(count > 25, `${what} ${count} times`);
});

function isDefect(error: Error): boolean {
  return !(error instanceof ConnectionError) || error.code === errorCodes.internalError;
}
