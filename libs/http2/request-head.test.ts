/** Which requests are well formed (RFC 9113, sections 8.1 to 8.3), as a client on the wire finds out. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import fc from "fast-check";
import { flags, frameTypes } from "./frames.ts";
import { limits } from "./limits.ts";
import { blockOf, dataFrame, frame, pseudoHeaders, requestFrame } from "./testing/raw-peer.ts";
import { answerAtEnd, openScene, type Scene } from "./testing/scene.ts";

const { headers, continuation } = frameTypes;
const { endStream, endHeaders } = flags;
const REFUSED = ["RST_STREAM 1 PROTOCOL_ERROR"];
const SERVED = ["HEADERS 1 200 END"];
const MAX_FRAME_BYTES = 16_384;

type Field = readonly [name: string, value: string];

let scene: Scene;

before(async () => {
  scene = await openScene({ onRequest: answerAtEnd });
});

after(() => scene.close());

const method: Field = [":method", "POST"];
const scheme: Field = [":scheme", "http"];
const path: Field = [":path", "/"];
const authority: Field = [":authority", "test"];
const good = [method, scheme, path, authority];

const malformed: readonly (readonly [what: string, fields: readonly Field[]])[] = [
  ["no fields", []],
  ["no method", [scheme, path, authority]],
  ["no scheme", [method, path, authority]],
  ["no path", [method, scheme, authority]],
  ["an empty path", [method, scheme, [":path", ""], authority]],
  ["two methods", [...good, method]],
  ["two schemes", [scheme, ...good]],
  ["two paths", [path, ...good]],
  ["two authorities", [...good, authority]],
  ["a pseudo-header behind another header", [method, scheme, path, ["a", "b"], authority]],
  ["a pseudo-header of an answer", [...good, [":status", "200"]]],
  ["a pseudo-header that nobody knows", [...good, [":protocol", "websocket"]]],
  ["a name in upper case", [...good, ["Accept", "all"]]],
  ["a name with a space", [...good, ["a b", "c"]]],
  ["a name with a colon", [...good, ["a:b", "c"]]],
  ["an empty name", [...good, ["", "c"]]],
  ["a name beyond ASCII", [...good, ["ä", "c"]]],
  ["a value with a line feed", [...good, ["a", "b\nc: d"]]],
  ["a value with a carriage return", [...good, ["a", "b\rc"]]],
  ["a value with a zero byte", [...good, ["a", "b\0c"]]],
  ["a path with a line feed", [method, scheme, [":path", "/\n"], authority]],
  ["a path that ends with a space", [method, scheme, [":path", "/ "], authority]],
  ["connection", [...good, ["connection", "close"]]],
  ["keep-alive", [...good, ["keep-alive", "1"]]],
  ["proxy-connection", [...good, ["proxy-connection", "close"]]],
  ["transfer-encoding", [...good, ["transfer-encoding", "chunked"]]],
  ["upgrade", [...good, ["upgrade", "h2c"]]],
  ["te that is not trailers", [...good, ["te", "gzip"]]],
  ["te with more than trailers", [...good, ["te", "trailers, gzip"]]],
  ["CONNECT", [[":method", "CONNECT"], authority]],
  ["CONNECT with a path", [[":method", "CONNECT"], scheme, path, authority]],
  ["a content-length of words", [...good, ["content-length", "many"]]],
  ["a negative content-length", [...good, ["content-length", "-1"]]],
  ["an empty content-length", [...good, ["content-length", ""]]],
  ["a content-length beyond what a number can be", [...good, ["content-length", "9".repeat(16)]]],
  ["two content-lengths that differ", [...good, ["content-length", "0"], ["content-length", "1"]]],
  ["a content-length without a body", [...good, ["content-length", "1"]]],
];

suite("a request is malformed, and is handed to nobody, that has", { concurrency: 8 }, () => {
  for (const [what, fields] of malformed) {
    test(what, async () => {
      const { peer, connection } = await scene.open();
      const servedBefore = scene.served.length;
      peer.greet();
      peer.send(frame(headers, endHeaders | endStream, 1, blockOf(fields)));
      await peer.settle();
      assert.deepEqual(peer.told(), REFUSED);
      assert.equal(scene.served.length, servedBefore);
      assert.equal(connection.open(), 0);
      peer.destroy();
    });
  }
});

suite("a request is well formed that has", { concurrency: 8 }, () => {
  const rows: readonly (readonly [what: string, fields: readonly Field[]])[] = [
    ["pseudo-headers in any order", [authority, path, scheme, method]],
    ["no authority", [method, scheme, path]],
    ["an empty authority", [method, scheme, path, [":authority", ""]]],
    ["te for trailers", [...good, ["te", "trailers"]]],
    ["an empty value", [...good, ["a", ""]]],
    ["a value with spaces inside and letters of latin1", [...good, ["a", "b \t ä"]]],
    ["a value that begins with a space", [...good, ["a", " b"]]],
    ["a value that ends with a tab", [...good, ["a", "b\t"]]],
    ["every character of a token", [...good, ["!#$%&'*+-.^_`|~09az", "b"]]],
    ["a content-length of nothing", [...good, ["content-length", "0"]]],
    ["the same content-length twice", [...good, ["content-length", "0"], ["content-length", "0"]]],
  ];
  for (const [what, fields] of rows) {
    test(what, async () => {
      const { peer } = await scene.open();
      peer.greet();
      peer.send(frame(headers, endHeaders | endStream, 1, blockOf(fields)));
      await peer.settle();
      assert.deepEqual(peer.told(), SERVED);
      peer.destroy();
    });
  }
});

suite("a body of four bytes by its content-length", { concurrency: 8 }, () => {
  const trailers = frame(headers, endHeaders | endStream, 1, blockOf([["a", "b"]]));
  const rows: readonly (readonly [what: string, sent: readonly Buffer[], told: readonly string[]])[] = [
    ["has four bytes", [dataFrame(1, endStream, Buffer.alloc(4))], SERVED],
    [
      "has them in pieces",
      [dataFrame(1, 0, Buffer.alloc(3)), dataFrame(1, 0, Buffer.alloc(1)), dataFrame(1, endStream)],
      SERVED,
    ],
    [
      "does not count its padding",
      [dataFrame(1, flags.padded | endStream, Buffer.of(1, 0, 0, 0, 0, 0))],
      SERVED,
    ],
    ["may be followed by trailers", [dataFrame(1, 0, Buffer.alloc(4)), trailers], SERVED],
    ["is not shorter", [dataFrame(1, endStream, Buffer.alloc(3))], REFUSED],
    ["is not longer", [dataFrame(1, endStream, Buffer.alloc(5))], REFUSED],
    ["is not longer before its end", [dataFrame(1, 0, Buffer.alloc(5))], REFUSED],
    [
      "is not longer in its last piece",
      [dataFrame(1, 0, Buffer.alloc(4)), dataFrame(1, endStream, Buffer.alloc(1))],
      REFUSED,
    ],
    ["is not cut short by trailers", [dataFrame(1, 0, Buffer.alloc(3)), trailers], REFUSED],
  ];
  for (const [what, sent, told] of rows) {
    test(what, async () => {
      const { peer } = await scene.open();
      peer.greet();
      peer.send(requestFrame(1, 0, "/", [["content-length", "4"]]), ...sent);
      await peer.settle();
      assert.deepEqual(peer.told(), told);
      peer.destroy();
    });
  }
});

suite("headers that are too many", () => {
  // Each counts for two bytes and 32 more, but takes five bytes of the block.
  const many = blockOf([
    ...pseudoHeaders("/"),
    ...Array.from({ length: Math.ceil(limits.headerListBytes / 34) }, () => ["a", "b"] as const),
  ]);
  const last = requestFrame(3, endStream);

  test("are answered by 431, and the connection goes on", async () => {
    const { peer } = await scene.open();
    peer.greet();
    peer.send(frame(headers, endHeaders | endStream, 1, many), last);
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 431 END", "HEADERS 3 200 END"]);
    peer.destroy();
  });

  test("are answered by 431 before the body, which is wanted no more", async () => {
    const { peer } = await scene.open();
    peer.greet();
    peer.send(frame(headers, endHeaders, 1, many), dataFrame(1, endStream, Buffer.alloc(9)), last);
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 431 END", "RST_STREAM 1 NO_ERROR", "HEADERS 3 200 END"]);
    peer.destroy();
  });

  test("break the request off when they are its trailers", async () => {
    const { peer } = await scene.open();
    peer.greet();
    peer.send(requestFrame(1, 0), frame(headers, endHeaders | endStream, 1, many), last);
    await peer.settle();
    assert.deepEqual(peer.told(), [...REFUSED, "HEADERS 3 200 END"]);
    peer.destroy();
  });

  test("have their place in the table all the same", async () => {
    const { peer } = await scene.open();
    peer.greet();
    // `x: /known` joins the table as its only entry, which is number 62 then.
    const joins = Buffer.concat([Buffer.of(0x40, 1), Buffer.from("x"), Buffer.of(6), Buffer.from("/known")]);
    peer.send(frame(headers, endHeaders | endStream, 1, Buffer.concat([many, joins])));
    peer.send(
      frame(
        headers,
        endHeaders | endStream,
        3,
        Buffer.concat([blockOf(pseudoHeaders("/")), Buffer.of(0x80 | 62)]),
      ),
    );
    await peer.settle();
    assert.deepEqual(peer.told(), ["HEADERS 1 431 END", "HEADERS 3 200 END"]);
    assert.equal(scene.served.at(-1)?.head.header("x"), "/known");
    peer.destroy();
  });
});

suite("a request's head", () => {
  test("is what its client has sent, in however many frames", async () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}x$/);
    const value = fc.string({ unit: fc.constantFrom("a", "b", " ", ",", "=", '"', "ä"), maxLength: 3_000 });
    const fields = fc.array(
      fc.tuple(
        name,
        value.map((text) => text.trim()),
      ),
      { maxLength: 12 },
    );
    const { peer } = await scene.open();
    peer.greet();
    let streamId = -1;
    await fc.assert(
      fc.asyncProperty(fields, fc.integer({ min: 2_500, max: MAX_FRAME_BYTES }), async (sent, frameBytes) => {
        streamId += 2;
        const block = blockOf([...pseudoHeaders(`/${streamId}`), ...sent]);
        const starts = Array.from(
          { length: Math.ceil(block.length / frameBytes) },
          (_, index) => index * frameBytes,
        );
        for (const from of starts) {
          const type = from === 0 ? headers : continuation;
          const flag = (from === 0 ? endStream : 0) | (from === starts.at(-1) ? endHeaders : 0);
          peer.send(frame(type, flag, streamId, block.subarray(from, from + frameBytes)));
        }
        await peer.until("it is answered", () => peer.told().length === (streamId + 1) / 2);
        const head = scene.served.at(-1)?.head;
        assert.equal(head?.path, `/${streamId}`);
        assert.equal(head.method, "POST");
        assert.deepEqual(head.entries(), sent);
        for (const [known] of sent) {
          const values = sent.filter(([other]) => other === known).map(([, text]) => text);
          assert.equal(head.header(known), values.join(", "));
        }
        assert.equal(head.header("missing"), undefined);
      }),
      { numRuns: 60 },
    );
    peer.destroy();
  });
});
