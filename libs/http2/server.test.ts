/** The server as another implementation of HTTP/2 meets it: the client of node:http2, which is nghttp2. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { ClientHttp2Session } from "node:http2";
import { after, before, suite, test } from "node:test";
import fc from "fast-check";
import { RepeatedField } from "./header-encoder.ts";
import { errorCodes, type ServerStream } from "./index.ts";
import { type Http2Server, startHttp2Server } from "./server.ts";
import { ask, openSession } from "./testing/client.ts";
import { RawPeer, requestFrame, resetFrame } from "./testing/raw-peer.ts";
import { echo, nextOf, until } from "./testing/scene.ts";

const WINDOW_BYTES = 65_535;
const MEGABYTE = 1_048_576;
/** Random, so that a piece in a wrong place is seen; bodies are cut out of it. */
const noise = randomBytes(4 * MEGABYTE);
const ok = new RepeatedField(":status", "200");
const repeated = Array.from({ length: 60 }, (_, index) => new RepeatedField(`x-${index}`, `value ${index}`));

let server: Http2Server;
let session: ClientHttp2Session;
const broken: Error[] = [];
/** Streams of the path /quiet, which nobody answers but the tests. */
const quiet: ServerStream[] = [];
const gone = new Map<ServerStream, number>();

function serve(stream: ServerStream): void {
  const { path } = stream.head;
  if (path === "/quiet") {
    quiet.push(stream);
    stream.onGone = () => gone.set(stream, (gone.get(stream) ?? 0) + 1);
  } else if (path === "/trailers") {
    stream.onEnd = () => {
      stream.respond([ok]);
      stream.write(Buffer.from("body"));
      stream.finish([{ name: "x-after", value: String(stream.receivedBytes) }]);
    };
  } else if (path === "/headers") {
    stream.respondOnly([ok, ...stream.head.entries().map(([name, value]) => ({ name, value }))]);
  } else if (path.startsWith("/repeated/")) {
    const chosen = path.slice(10).split(",").map(Number);
    const fields = chosen.flatMap((index) => repeated[index] ?? []);
    stream.respond([ok, { name: "x-once", value: path }, ...fields]);
    stream.finish(fields);
  } else {
    echo(stream);
  }
}

function bodyOf(bytes: number, from = 0): Buffer {
  return noise.subarray(from, from + bytes);
}

before(async () => {
  server = await startHttp2Server({
    host: "127.0.0.1",
    port: 0,
    onRequest: serve,
    streamWindowBytes: WINDOW_BYTES,
    onBroken: (error) => broken.push(error),
  });
  session = await openSession(server.port);
});

after(() => {
  session.destroy();
  server.destroy();
  assert.deepEqual(broken, []);
});

suite("bodies", () => {
  test("of any size come back as they were sent, several at once", async () => {
    const size = fc.oneof(fc.constantFrom(0, 1, 16_384, 16_385, WINDOW_BYTES + 1), fc.nat(3 * MEGABYTE));
    await fc.assert(
      fc.asyncProperty(fc.array(size, { minLength: 1, maxLength: 4 }), async (sizes) => {
        const replies = await Promise.all(
          sizes.map((bytes, index) => ask(session, { body: bodyOf(bytes, index) })),
        );
        for (const [index, { body, code, headers }] of replies.entries()) {
          assert.equal(headers[":status"], 200);
          assert.equal(code, errorCodes.noError);
          assert.ok(body.equals(bodyOf(sizes[index] ?? 0, index)), `${sizes[index]} bytes`);
        }
      }),
      { numRuns: 15 },
    );
  });

  test("come whole to a client with tiny windows, which change in the middle", async () => {
    const window = fc.integer({ min: 1, max: 100 });
    await fc.assert(
      fc.asyncProperty(window, window, fc.nat(2_000), async (first, second, bytes) => {
        const narrow = await openSession(server.port, { initialWindowSize: first });
        const asked = [1, 2, 3].map((from) => ask(narrow, { body: bodyOf(bytes, from) }));
        narrow.settings({ initialWindowSize: second });
        for (const [index, { body }] of (await Promise.all(asked)).entries()) {
          assert.ok(body.equals(bodyOf(bytes, index + 1)), `${bytes} bytes`);
        }
        narrow.destroy();
      }),
      { numRuns: 15 },
    );
  });

  test("are held up for the one that is not read, and not for others", async () => {
    const slow = session.request({ ":method": "POST", ":path": "/" });
    slow.pause();
    slow.end(bodyOf(MEGABYTE));
    await once(slow, "response");
    const { body } = await ask(session, { body: bodyOf(MEGABYTE, 7) });
    assert.ok(body.equals(bodyOf(MEGABYTE, 7)));
    const digest = createHash("sha256");
    for await (const piece of slow) digest.update(piece);
    assert.equal(digest.digest("hex"), createHash("sha256").update(bodyOf(MEGABYTE)).digest("hex"));
  });

  test("of a thousand requests at once are each their own", async () => {
    const texts = Array.from({ length: 1_000 }, (_, index) => Buffer.from(`request ${index}`));
    const replies = await Promise.all(texts.map((body) => ask(session, { body })));
    assert.deepEqual(
      replies.map(({ body }) => body.toString()),
      texts.map((text) => text.toString()),
    );
  });
});

suite("headers", () => {
  test("of an answer that are larger than a frame arrive whole, and so do those of a request", async () => {
    const fields = Object.fromEntries(
      [3_000, 14_000, 20_000].map((bytes, index) => [`x-long-${index}`, String(index).repeat(bytes)]),
    );
    const wide = await openSession(server.port, { maxHeaderListSize: MEGABYTE });
    const { headers } = await ask(wide, { path: "/headers", headers: fields });
    for (const [name, value] of Object.entries(fields)) assert.ok(headers[name] === value, name);
    wide.destroy();
  });

  test("that are repeated over many answers are right, whatever table their client has", async () => {
    const chosen = fc.uniqueArray(fc.nat(repeated.length - 1), { minLength: 1, maxLength: 30 });
    const tableBytes = fc.constantFrom(0, 100, 4_096, 65_536);
    await fc.assert(
      fc.asyncProperty(
        tableBytes,
        fc.array(fc.tuple(chosen, fc.option(tableBytes)), { minLength: 1, maxLength: 12 }),
        async (firstBytes, answers) => {
          const client = await openSession(server.port, { headerTableSize: firstBytes });
          for (const [indexes, changedBytes] of answers) {
            if (changedBytes !== null) client.settings({ headerTableSize: changedBytes });
            const path = `/repeated/${indexes.join(",")}`;
            const [reply, other] = await Promise.all([ask(client, { path }), ask(client, { path })]);
            assert.equal(reply.headers["x-once"], path);
            const expected = indexes.map((index) => [`x-${index}`, `value ${index}`]);
            for (const { headers, trailers } of [reply, other]) {
              const found = Object.entries(headers).filter(([name]) => /^x-\d/.test(name));
              assert.deepEqual(found, expected);
              assert.deepEqual(Object.entries(trailers), expected);
            }
          }
          client.destroy();
        },
      ),
      { numRuns: 15 },
    );
  });

  test("may stand behind a body, on both sides", async () => {
    const reply = await ask(session, {
      path: "/trailers",
      body: bodyOf(1_000),
      trailers: { "x-behind": "1" },
    });
    assert.equal(reply.body.toString(), "body");
    assert.equal(reply.trailers["x-after"], "1000");
    const bodiless = await ask(session, { path: "/trailers", trailers: { "x-behind": "1" } });
    assert.equal(bodiless.trailers["x-after"], "0");
  });
});

suite("an answer before its request is complete", () => {
  test("stands, and what still comes is read away", async () => {
    const request = session.request({ ":method": "POST", ":path": "/quiet" });
    const stream = await nextOf(quiet, () => request.write("begun"));
    stream.respondOnly([ok]);
    const [headers] = await once(request, "response");
    assert.equal(headers[":status"], 200);
    request.resume();
    request.end(bodyOf(20_000));
    await once(request, "close");
    assert.equal(request.rstCode, errorCodes.noError);
    assert.equal(gone.get(stream), undefined);
    await until("all has come", () => stream.receivedBytes === 20_005);
    await ask(session);
  });

  test("makes a client stop that sends without end", async () => {
    const request = session.request({ ":method": "POST", ":path": "/quiet" });
    const stream = await nextOf(quiet, () => request.write("begun"));
    stream.respondOnly([ok]);
    request.resume();
    request.on("error", () => {});
    request.write(bodyOf(MEGABYTE));
    await once(request, "close");
    assert.equal(request.rstCode, errorCodes.noError);
    assert.ok(stream.receivedBytes <= WINDOW_BYTES);
    await ask(session);
  });

  test("tells the client to stop, if whoever serves it says so", async () => {
    const request = session.request({ ":method": "POST", ":path": "/quiet" });
    const stream = await nextOf(quiet, () => request.write("begun"));
    // Before the answer there is nothing to stop.
    stream.stopReading();
    stream.respondOnly([ok]);
    stream.stopReading();
    request.resume();
    const [headers] = await once(request, "response");
    await once(request, "close");
    assert.equal(headers[":status"], 200);
    assert.equal(request.rstCode, errorCodes.noError);
    await ask(session);
  });
});

suite("a client that goes", () => {
  test("is not answered by a reset to its reset", async () => {
    const peer = await RawPeer.connect(server.port);
    peer.greet();
    const stream = await nextOf(quiet, () => peer.send(requestFrame(1, 0, "/quiet")));
    peer.send(resetFrame(1));
    await until("it is told", () => gone.has(stream));
    stream.respondOnly([ok]);
    stream.stopReading();
    await peer.settle();
    assert.deepEqual(peer.told(), []);
    peer.destroy();
  });

  test("takes one request back, which is told once, and what is written then is dropped", async () => {
    const request = session.request({ ":method": "POST", ":path": "/quiet" });
    request.on("error", () => {});
    const stream = await nextOf(quiet, () => request.write("begun"));
    request.close(errorCodes.cancel);
    await until("it is told", () => gone.has(stream));
    stream.respond([ok]);
    assert.equal(stream.write(bodyOf(100_000)), true);
    stream.finish();
    stream.reset(errorCodes.internalError);
    await ask(session);
    assert.equal(gone.get(stream), 1);
  });

  test("takes all of its requests with it", async () => {
    const leaver = await openSession(server.port);
    const from = quiet.length;
    for (let count = 0; count < 20; count += 1) {
      leaver.request({ ":path": "/quiet" }).on("error", () => {});
    }
    await until("they are handed over", () => quiet.length === from + 20);
    const openBefore = server.open();
    leaver.destroy();
    await until("all are told", () => quiet.slice(from).every((stream) => gone.has(stream)));
    await until("the connection is closed", () => server.open() === openBefore - 1);
    assert.ok(quiet.slice(from).every((stream) => gone.get(stream) === 1));
  });
});
