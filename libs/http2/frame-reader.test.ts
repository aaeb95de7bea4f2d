/** The beginning of a connection, and frames that the network has split as it liked. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import fc from "fast-check";
import { FrameReader } from "./frame-reader.ts";
import { flags, frameTypes, PREFACE } from "./frames.ts";
import {
  blockOf,
  dataFrame,
  frame,
  pingFrame,
  pseudoHeaders,
  RawPeer,
  requestFrame,
  settingsFrame,
  windowFrame,
} from "./testing/raw-peer.ts";
import { answerAtEnd, openScene, type Scene, until } from "./testing/scene.ts";

const { headers, settings, ping, continuation } = frameTypes;
const { ack, endStream, endHeaders, padded } = flags;
const preface = Buffer.from(PREFACE, "latin1");
const block = blockOf(pseudoHeaders("/"));
const [blockBegin, blockEnd] = [block.subarray(0, 9), block.subarray(9)];

let scene: Scene;

before(async () => {
  scene = await openScene({ onRequest: answerAtEnd });
});

after(() => scene.close());

suite("what is not HTTP/2 is told so by", { concurrency: 8 }, () => {
  const beginnings: [what: string, sent: Buffer][] = [
    ["a request of HTTP/1.1", Buffer.from("GET / HTTP/1.1\r\nhost: test\r\n\r\n")],
    ["the beginning of TLS", Buffer.of(0x16, 0x03, 0x01)],
    ["a preface that ends wrongly", Buffer.from(`${PREFACE.slice(0, -1)}!`)],
    ["a preface without settings", Buffer.concat([preface, pingFrame("first")])],
    ["an acknowledgement in the place of settings", Buffer.concat([preface, frame(settings, ack, 0)])],
  ];
  for (const [what, sent] of beginnings) {
    test(`GOAWAY 0 PROTOCOL_ERROR: ${what}`, async () => {
      const peer = await RawPeer.connect(scene.port);
      peer.send(sent);
      await peer.settle();
      assert.deepEqual(peer.told(), ["GOAWAY 0 PROTOCOL_ERROR"]);
    });
  }
});

suite("frames are read alike however they are split", () => {
  const sent = Buffer.concat([
    preface,
    settingsFrame([[4, 70_000]]),
    frame(headers, 0, 1, blockBegin),
    frame(continuation, endHeaders, 1, blockEnd),
    dataFrame(1, 0, Buffer.from("some of it")),
    requestFrame(3, endStream),
    windowFrame(1, 10),
    requestFrame(5, 0, "/", [["content-length", "2"]]),
    dataFrame(1, endStream, Buffer.from("the rest")),
    dataFrame(5, padded | endStream, Buffer.of(1, 65, 0)),
    frame(99, 0, 0, Buffer.alloc(20)),
    requestFrame(7, endStream),
    frame(ping, 0, 0, Buffer.alloc(9)),
  ]);
  const answers = [
    "HEADERS 3 200 END",
    "HEADERS 1 200 END",
    "RST_STREAM 5 PROTOCOL_ERROR",
    "HEADERS 7 200 END",
    "GOAWAY 7 FRAME_SIZE_ERROR",
  ];

  function read(pieces: readonly Buffer[]): string[] {
    const frames: string[] = [];
    const reader = new FrameReader((type, flag, streamId, bytes, from, to) => {
      frames.push(`${type} ${flag} ${streamId} ${bytes.toString("hex", from, to)}`);
    });
    for (const piece of pieces) reader.read(piece);
    return frames;
  }

  test("at every byte, and byte by byte", () => {
    const whole = read([sent]);
    assert.equal(whole.length, 12);
    for (let at = 1; at < sent.length; at += 1) {
      assert.deepEqual(read([sent.subarray(0, at), sent.subarray(at)]), whole, `split at ${at}`);
    }
    assert.deepEqual(read(Array.from(sent, (byte) => Buffer.of(byte))), whole);
  });

  test("and are answered alike", async () => {
    const places = fc.uniqueArray(fc.integer({ min: 1, max: sent.length - 1 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(places, async (unsorted) => {
        const cuts = [0, ...unsorted.sort((a, b) => a - b), sent.length];
        const { peer, socket, connection } = await scene.open();
        // Handed over by the socket itself, because the network would put some pieces together again.
        for (const [index, from] of cuts.slice(0, -1).entries()) {
          socket.emit("data", sent.subarray(from, cuts[index + 1]));
        }
        await peer.closed();
        assert.deepEqual(peer.told(), answers);
        await until("nothing is kept", () => connection.open() === 0);
      }),
      { numRuns: 40 },
    );
  });
});
