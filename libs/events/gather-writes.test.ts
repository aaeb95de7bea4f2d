import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { gatherWrites } from "./gather-writes.ts";

let port: number;
const server = createServer();

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  port = address.port;
});

after(() => server.close());

/** A connected socket that gathers, and its peer. */
async function openPair() {
  const accepted = once(server, "connection");
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const [peer]: Socket[] = await accepted;
  assert.ok(peer);
  gatherWrites(socket);
  return { socket, peer };
}

async function readAll(peer: Socket): Promise<string> {
  peer.setEncoding("utf8");
  const chunks: string[] = await Array.fromAsync(peer);
  return chunks.join("");
}

test("what is written in one go, in promises too, leaves together and in order", async () => {
  const { socket, peer } = await openPair();
  const writeAll = async () => {
    socket.write("a");
    await Promise.resolve();
    socket.write("b");
    await Promise.resolve();
    socket.write("c");
    return socket.writableLength;
  };
  assert.equal(await Promise.resolve().then(writeAll), 3, "nothing has left yet");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(socket.writableCorked, 0);
  socket.write("d");
  socket.end("e");
  assert.equal(await readAll(peer), "abcde");
});

test("a socket that is destroyed with something gathered stays quiet", async () => {
  const { socket, peer } = await openPair();
  peer.resume();
  socket.write("a");
  socket.destroy();
  await once(socket, "close");
  assert.ok(socket.destroyed);
});
