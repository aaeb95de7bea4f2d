/** What a peer may do wrong by RFC 9113, and what it is told: the connection ends, or one stream does. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { flags, frameTypes } from "./frames.ts";
import {
  blockOf,
  dataFrame,
  frame,
  number32,
  pingFrame,
  pseudoHeaders,
  requestFrame,
  resetFrame,
  settingsFrame,
  windowFrame,
} from "./testing/raw-peer.ts";
import { answerAtEnd, openScene, type Scene } from "./testing/scene.ts";

const { data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation } =
  frameTypes;
const { ack, endStream, endHeaders, padded } = flags;
/** RFC 9113, section 6.5.2: what a client may put into one frame until it is told otherwise. */
const MAX_FRAME_BYTES = 16_384;
const MOST_WINDOW = 2 ** 31 - 1;
const WINDOW_BYTES = 1_000;
const block = blockOf(pseudoHeaders("/"));
const [blockBegin, blockEnd] = [block.subarray(0, 9), block.subarray(9)];
const open = requestFrame(1, 0);
const answered = requestFrame(1, endStream);
const never = requestFrame(1, endStream, "/never");

let scene: Scene;

before(async () => {
  scene = await openScene({
    streamWindowBytes: WINDOW_BYTES,
    onRequest: (stream) => {
      if (stream.head.path !== "/never") answerAtEnd(stream);
    },
  });
});

after(() => scene.close());

type Row = readonly [what: string, sent: readonly Buffer[], told: readonly string[]];

async function isTold([, sent, told]: Row): Promise<void> {
  const { peer } = await scene.open();
  peer.greet();
  peer.send(...sent);
  await peer.settle();
  assert.deepEqual(peer.told(), told);
  if (told.some((words) => words.startsWith("GOAWAY"))) {
    await peer.closed();
    return;
  }
  // What was wrong with one stream, or with nothing, leaves the connection as it was.
  peer.send(requestFrame(99, endStream));
  await peer.until("another request is answered", () => peer.told().length > told.length);
  assert.deepEqual(peer.told(), [...told, "HEADERS 99 200 END"]);
  peer.destroy();
}

const endOfConnection: Row[] = [
  [
    "a frame of 16,385 bytes",
    [open, dataFrame(1, 0, Buffer.alloc(MAX_FRAME_BYTES + 1))],
    ["GOAWAY 1 FRAME_SIZE_ERROR"],
  ],
  ["half a setting", [frame(settings, 0, 0, Buffer.alloc(7))], ["GOAWAY 0 FRAME_SIZE_ERROR"]],
  [
    "an acknowledgement with settings in it",
    [frame(settings, ack, 0, Buffer.alloc(6))],
    ["GOAWAY 0 FRAME_SIZE_ERROR"],
  ],
  ["a ping of seven bytes", [frame(ping, 0, 0, Buffer.alloc(7))], ["GOAWAY 0 FRAME_SIZE_ERROR"]],
  [
    "a window update of three bytes",
    [frame(windowUpdate, 0, 0, Buffer.alloc(3))],
    ["GOAWAY 0 FRAME_SIZE_ERROR"],
  ],
  ["a reset of five bytes", [open, frame(reset, 0, 1, Buffer.alloc(5))], ["GOAWAY 1 FRAME_SIZE_ERROR"]],
  ["a GOAWAY of seven bytes", [frame(goAway, 0, 0, Buffer.alloc(7))], ["GOAWAY 0 FRAME_SIZE_ERROR"]],
  [
    "padding without its length in headers",
    [frame(headers, endHeaders | padded, 1)],
    ["GOAWAY 0 FRAME_SIZE_ERROR"],
  ],
  ["padding without its length in data", [open, frame(data, padded, 1)], ["GOAWAY 1 FRAME_SIZE_ERROR"]],
  [
    "half a priority in headers",
    [frame(headers, endHeaders | flags.priority, 1, Buffer.alloc(4))],
    ["GOAWAY 0 FRAME_SIZE_ERROR"],
  ],

  ["data of no stream", [dataFrame(0, 0)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["headers of no stream", [frame(headers, endHeaders, 0, block)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a priority of no stream", [frame(priority, 0, 0, Buffer.alloc(5))], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a reset of no stream", [frame(reset, 0, 0, number32(8))], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["settings of a stream", [frame(settings, 0, 1)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a ping of a stream", [frame(ping, 0, 1, Buffer.alloc(8))], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a GOAWAY of a stream", [frame(goAway, 0, 1, Buffer.alloc(8))], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a push from a client", [frame(pushPromise, endHeaders, 1, number32(2))], ["GOAWAY 0 PROTOCOL_ERROR"]],

  ["data of an idle stream", [dataFrame(1, 0)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a reset of an idle stream", [resetFrame(1)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a window update of an idle stream", [windowFrame(1, 1)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a stream of an even number", [requestFrame(2, endStream)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  [
    "data of an even stream that was passed over",
    [requestFrame(5, endStream), dataFrame(2, 0)],
    ["HEADERS 5 200 END", "GOAWAY 5 PROTOCOL_ERROR"],
  ],
  [
    "a window update of an even stream that was passed over",
    [requestFrame(5, endStream), windowFrame(2, 1)],
    ["HEADERS 5 200 END", "GOAWAY 5 PROTOCOL_ERROR"],
  ],
  [
    "a stream whose number goes down",
    [requestFrame(5, endStream), requestFrame(3, endStream)],
    ["HEADERS 5 200 END", "GOAWAY 5 STREAM_CLOSED"],
  ],
  ["headers of a stream that is over", [answered, answered], ["HEADERS 1 200 END", "GOAWAY 1 STREAM_CLOSED"]],
  ["headers behind the end of a request", [never, answered], ["GOAWAY 1 STREAM_CLOSED"]],

  [
    "a ping inside a block of headers",
    [frame(headers, 0, 1, blockBegin), pingFrame("now")],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],
  [
    "an unknown frame inside a block of headers",
    [frame(headers, 0, 1, blockBegin), frame(99, 0, 1)],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],
  [
    "other headers inside a block of headers",
    [frame(headers, 0, 1, blockBegin), requestFrame(3, 0)],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],
  [
    "a continuation on another stream",
    [frame(headers, 0, 1, blockBegin), frame(continuation, endHeaders, 3, blockEnd)],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],
  ["a continuation of nothing", [frame(continuation, endHeaders, 1, block)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a continuation of no stream", [frame(continuation, endHeaders, 0, block)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  [
    "a continuation of a block that is complete",
    [open, frame(continuation, endHeaders, 1, blockEnd)],
    ["GOAWAY 1 PROTOCOL_ERROR"],
  ],

  [
    "as much padding as there is data",
    [open, frame(data, padded, 1, Buffer.of(3, 0, 0))],
    ["GOAWAY 1 PROTOCOL_ERROR"],
  ],
  [
    "as much padding as there are headers",
    [frame(headers, endHeaders | padded, 1, Buffer.of(3, 0, 0))],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],

  ["a push that is neither on nor off", [settingsFrame([[2, 2]])], ["GOAWAY 0 PROTOCOL_ERROR"]],
  ["a first window of 2^31", [settingsFrame([[4, 2 ** 31]])], ["GOAWAY 0 FLOW_CONTROL_ERROR"]],
  [
    "a largest frame of 16,383 bytes",
    [settingsFrame([[5, MAX_FRAME_BYTES - 1]])],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],
  ["a largest frame of 2^24 bytes", [settingsFrame([[5, 2 ** 24]])], ["GOAWAY 0 PROTOCOL_ERROR"]],
  [
    "settings that raise the window of a stream above 2^31-1",
    [never, windowFrame(1, MOST_WINDOW - 65_535), settingsFrame([[4, 65_536]])],
    ["GOAWAY 1 FLOW_CONTROL_ERROR"],
  ],
  [
    "a window of the connection above 2^31-1",
    [windowFrame(0, MOST_WINDOW - 65_534)],
    ["GOAWAY 0 FLOW_CONTROL_ERROR"],
  ],
  ["a window of the connection that grows by nothing", [windowFrame(0, 0)], ["GOAWAY 0 PROTOCOL_ERROR"]],
  [
    "headers of a stream that depends on itself",
    [frame(headers, endHeaders | flags.priority, 1, Buffer.concat([number32(1), Buffer.of(9), block]))],
    ["GOAWAY 0 PROTOCOL_ERROR"],
  ],

  [
    "an index that no table has",
    [frame(headers, endHeaders, 1, Buffer.of(0xff, 0x40))],
    ["GOAWAY 0 COMPRESSION_ERROR"],
  ],
  [
    "a block that is cut off",
    [frame(headers, endHeaders, 1, block.subarray(0, -1))],
    ["GOAWAY 0 COMPRESSION_ERROR"],
  ],
  [
    "a wrong block for a stream that was broken off",
    [open, windowFrame(1, 0), frame(headers, endHeaders, 1, Buffer.of(0x80))],
    ["RST_STREAM 1 PROTOCOL_ERROR", "GOAWAY 1 COMPRESSION_ERROR"],
  ],
];

const endOfStream: Row[] = [
  [
    "a window of a stream above 2^31-1",
    [never, windowFrame(1, MOST_WINDOW - 65_534)],
    ["RST_STREAM 1 FLOW_CONTROL_ERROR"],
  ],
  ["a window of a stream that grows by nothing", [never, windowFrame(1, 0)], ["RST_STREAM 1 PROTOCOL_ERROR"]],
  [
    "data beyond the window of a stream",
    [open, dataFrame(1, 0, Buffer.alloc(WINDOW_BYTES + 1))],
    ["RST_STREAM 1 FLOW_CONTROL_ERROR"],
  ],
  [
    "padding beyond the window of a stream",
    [
      open,
      ...Array.from({ length: 4 }, () =>
        dataFrame(1, padded, Buffer.concat([Buffer.of(2), Buffer.alloc(255)])),
      ),
    ],
    ["RST_STREAM 1 FLOW_CONTROL_ERROR"],
  ],
  ["data behind the end of a request", [never, dataFrame(1, 0)], ["RST_STREAM 1 STREAM_CLOSED"]],
  [
    "data of a stream that is over",
    [answered, dataFrame(1, 0)],
    ["HEADERS 1 200 END", "RST_STREAM 1 STREAM_CLOSED"],
  ],
  [
    "data of a stream that was taken back",
    [open, resetFrame(1), dataFrame(1, 0)],
    ["RST_STREAM 1 STREAM_CLOSED"],
  ],
  [
    "trailers that do not end the request",
    [open, frame(headers, endHeaders, 1, blockOf([["a", "b"]]))],
    ["RST_STREAM 1 PROTOCOL_ERROR"],
  ],
  [
    "trailers with a pseudo-header",
    [open, frame(headers, endHeaders | endStream, 1, blockOf([[":path", "/"]]))],
    ["RST_STREAM 1 PROTOCOL_ERROR"],
  ],
  [
    "trailers with a name in upper case",
    [open, frame(headers, endHeaders | endStream, 1, blockOf([["A", "b"]]))],
    ["RST_STREAM 1 PROTOCOL_ERROR"],
  ],
  [
    "a priority of four bytes",
    [never, frame(priority, 0, 1, Buffer.alloc(4))],
    ["RST_STREAM 1 FRAME_SIZE_ERROR"],
  ],
  [
    "a priority of a stream that depends on itself",
    [never, frame(priority, 0, 1, Buffer.concat([number32(1), Buffer.of(9)]))],
    ["RST_STREAM 1 PROTOCOL_ERROR"],
  ],
];

const nothingWrong: Row[] = [
  ["an unknown frame", [frame(99, 0xff, 1, Buffer.alloc(100)), frame(16, 0, 0, Buffer.alloc(8))], []],
  ["an unknown setting", [settingsFrame([[99, 7]]), settingsFrame([[8, 1]])], []],
  ["an unknown flag", [frame(headers, 0x50 | endHeaders | endStream, 1, block)], ["HEADERS 1 200 END"]],
  [
    "the bit of a stream's number that is reserved",
    [frame(headers, endHeaders | endStream, 0x8000_0001, block)],
    ["HEADERS 1 200 END"],
  ],
  ["the bit of a window that is reserved", [frame(windowUpdate, 0, 0, number32(0x8000_0001))], []],
  ["an answer to a ping that nobody sent", [frame(ping, ack, 0, Buffer.alloc(8))], []],
  [
    "priorities",
    [
      frame(priority, 0, 7, Buffer.alloc(5)),
      frame(
        headers,
        endHeaders | endStream | flags.priority,
        1,
        Buffer.concat([number32(3), Buffer.of(9), block]),
      ),
    ],
    ["HEADERS 1 200 END"],
  ],
  [
    "padding",
    [
      frame(headers, endHeaders | padded, 1, Buffer.concat([Buffer.of(2), block, Buffer.alloc(2)])),
      frame(data, padded | endStream, 1, Buffer.of(2, 65, 0, 0)),
    ],
    ["HEADERS 1 200 END"],
  ],
  [
    "padding, which takes no room of a stream",
    [
      open,
      ...Array.from({ length: 8 }, () =>
        dataFrame(1, padded, Buffer.concat([Buffer.of(255), Buffer.alloc(256)])),
      ),
      dataFrame(1, endStream),
    ],
    ["HEADERS 1 200 END"],
  ],
  [
    "a block in many pieces, of which some are empty",
    [
      frame(headers, endStream, 1),
      frame(continuation, 0, 1, blockBegin),
      frame(continuation, 0, 1),
      frame(continuation, endHeaders, 1, blockEnd),
    ],
    ["HEADERS 1 200 END"],
  ],
  [
    "a window update and a reset of a stream that is over",
    [answered, windowFrame(1, 1), resetFrame(1)],
    ["HEADERS 1 200 END"],
  ],
  [
    "what comes for a stream that was broken off",
    [
      open,
      windowFrame(1, 0),
      dataFrame(1, 0, Buffer.alloc(9)),
      requestFrame(1, endStream),
      resetFrame(1),
      windowFrame(1, 0),
    ],
    ["RST_STREAM 1 PROTOCOL_ERROR"],
  ],
  [
    "windows of 2^31-1",
    [windowFrame(0, MOST_WINDOW - 65_535), never, windowFrame(1, MOST_WINDOW - 65_535)],
    [],
  ],
];

suite("the connection ends by", { concurrency: 8 }, () => {
  for (const row of endOfConnection) test(`${row[0]}, and ${row[2].at(-1)} is told`, () => isTold(row));
});

suite("a stream ends, and its connection goes on, by", { concurrency: 8 }, () => {
  for (const row of endOfStream) test(`${row[0]}, and ${row[2].at(-1)} is told`, () => isTold(row));
});

suite("a connection is none the worse for", { concurrency: 8 }, () => {
  for (const row of nothingWrong) test(row[0], () => isTold(row));
});
