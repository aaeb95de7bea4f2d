import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttp1Server } from "node:http";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { Server } from "node:net";
import { after, before, describe, it } from "node:test";
import type { Client, Outcome } from "./client.ts";
import { grpcStatusOf, grpcStencil } from "./frames.ts";
import { jsonStencil, openHttp1Client } from "./http1.ts";
import { openHttp2Client } from "./http2.ts";
import { fillStencil, makeStencil, textBlank, uuidBlank } from "./stencil.ts";

function portOf(server: Pick<Server, "address">): number {
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

function call(client: Client, stencil: Parameters<Client["send"]>[0], values: string[]): Promise<Outcome> {
  return new Promise((resolve) => client.send(stencil, values, resolve));
}

describe("a stencil", () => {
  const blank = textBlank(1, 9);

  it("is filled wherever its blank stands, and refuses a value of another width", () => {
    const stencil = makeStencil(Buffer.from(`<${blank}|${blank}>`), [blank]);
    const target = Buffer.alloc(stencil.bytes.length + 2, "-");
    fillStencil(stencil, ["sku-00001"], target, 1, 0);
    assert.equal(target.toString(), "-<sku-00001|sku-00001>-");
    assert.throws(() => fillStencil(stencil, ["sku-1"], target, 1, 0));
  });

  it("needs a place for each blank", () => {
    assert.throws(() => makeStencil(Buffer.from("nothing"), [blank]));
  });

  it("has blanks that can be told apart", () => {
    assert.notEqual(uuidBlank(1), uuidBlank(2));
    assert.equal(uuidBlank(1).length, 36);
    assert.equal(textBlank(3, 9).length, 9);
  });
});

describe("the gRPC client", () => {
  const bodies: string[] = [];
  const server = createServer({ settings: { maxConcurrentStreams: 4 } });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      bodies.push(Buffer.concat(chunks).subarray(5).toString());
      answer(stream, String(headers[":path"]));
    });
  });
  function answer(stream: ServerHttp2Stream, path: string): void {
    const head = {
      ":status": 200,
      "content-type": "application/grpc+proto",
      "x-request-id": String(bodies.length),
    };
    if (path !== "/good") {
      stream.respond({ ...head, "grpc-status": "8", "grpc-message": "too many" }, { endStream: true });
      return;
    }
    stream.respond(head, { waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.from([0, 0, 0, 0, 0]));
  }
  let client: Client;
  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const urls = [`http://127.0.0.1:${portOf(server)}`];
    client = await openHttp2Client({ urls, connections: 2 });
  });
  after(() => {
    client.close();
    server.close();
  });

  const blank = textBlank(1, 9);
  const stencilOf = (path: string) =>
    grpcStencil({ authority: "test", path, message: Buffer.from(`sku ${blank}`), blanks: [blank] });

  it("tells success from failure by the status in the trailers", async () => {
    assert.equal(await call(client, stencilOf("/good"), ["sku-00001"]), "OK");
    assert.equal(await call(client, stencilOf("/full"), ["sku-00001"]), "ResourceExhausted");
  });

  it("sends every call with its own values, more of them than the server takes at once", async () => {
    bodies.length = 0;
    const skus = Array.from({ length: 500 }, (_, index) => `sku-${String(index).padStart(5, "0")}`);
    const stencil = stencilOf("/good");
    const outcomes = await Promise.all(skus.map((sku) => call(client, stencil, [sku])));
    assert.deepEqual(new Set(outcomes), new Set(["OK"]));
    assert.deepEqual(
      [...bodies].sort(),
      skus.map((sku) => `sku ${sku}`),
    );
  });

  it("reads a status whose name comes as it is", () => {
    assert.equal(grpcStatusOf(Buffer.from("\x00\x0bgrpc-status\x0214", "latin1")), 14);
    assert.equal(grpcStatusOf(Buffer.from("\x00\x0bsomething:)\x0214", "latin1")), undefined);
  });
});

describe("the JSON client", () => {
  const server = createHttp1Server((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body: { sku: string } = JSON.parse(Buffer.concat(chunks).toString());
      const isGood = request.headers["idempotency-key"] !== undefined && body.sku === "sku-00001";
      response.statusCode = isGood ? 200 : 429;
      // In two pieces, so that it is sent in chunks.
      response.write(isGood ? "{" : '{"details":[');
      response.end(isGood ? "}" : '{"reason": "OVERLOADED"}]}');
    });
  });
  let client: Client;
  let authority = "";
  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    authority = `127.0.0.1:${portOf(server)}`;
    client = await openHttp1Client(`http://${authority}`, 2);
  });
  after(() => {
    client.close();
    server.close();
  });

  it("tells success from the reason of a failure, over connections that stay", async () => {
    const blank = textBlank(1, 9);
    const body = JSON.stringify({ sku: blank });
    const headers = { "idempotency-key": "key" };
    const stencil = jsonStencil({ authority, path: "/v1/orders", body, blanks: [blank], headers });
    const skus = ["sku-00001", "sku-00002", "sku-00001", "sku-00003", "sku-00001"];
    const outcomes = await Promise.all(skus.map((sku) => call(client, stencil, [sku])));
    assert.deepEqual(outcomes, ["OK", "OVERLOADED", "OK", "OVERLOADED", "OK"]);
  });
});
