import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Connection } from "../connection.ts";
import { FIRST_WINDOW_BYTES, flags, MAX_31_BITS, settingIds } from "../frames.ts";
import { RepeatedField } from "../header-encoder.ts";
import { limits } from "../limits.ts";
import type { ServerStream } from "../stream.ts";
import { RawPeer, requestFrame, windowFrame } from "./raw-peer.ts";

/** One connection, seen from both ends. */
export type Ends = {
  readonly peer: RawPeer;
  readonly connection: Connection;
  /** The server's. */
  readonly socket: Socket;
};

/** A server whose connections and streams can be looked at. */
export type Scene = {
  readonly port: number;
  /** Why connections were ended. */
  readonly broken: Error[];
  /** Every request that was handed over. */
  readonly served: ServerStream[];
  /** How often `onGone` was called, by stream. */
  readonly gone: Map<ServerStream, number>;
  open(): Promise<Ends>;
  close(): void;
};

export type SceneOptions = {
  /** Gets the stream with `onGone` set, which counts. */
  readonly onRequest: (stream: ServerStream) => void;
  readonly streamWindowBytes?: number;
};

const DEADLINE_MS = 8_000;
const POLL_MS = 2;
const large = Buffer.alloc(64 * 1_048_576);
const ok = new RepeatedField(":status", "200");

/** Listens, on a port of its own. */
export async function openScene({ onRequest, streamWindowBytes = 65_535 }: SceneOptions): Promise<Scene> {
  const broken: Error[] = [];
  const served: ServerStream[] = [];
  const gone = new Map<ServerStream, number>();
  const ends = new Map<number | undefined, { connection: Connection; socket: Socket }>();
  const server = createServer({ noDelay: true }, (socket) => {
    const connection = new Connection(socket, {
      streamWindowBytes,
      onBroken: (error) => broken.push(error),
      onRequest: (stream) => {
        served.push(stream);
        stream.onGone = () => gone.set(stream, (gone.get(stream) ?? 0) + 1);
        onRequest(stream);
      },
    });
    const { remotePort } = socket;
    ends.set(remotePort, { connection, socket });
    socket.once("close", () => ends.delete(remotePort));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no address");
  return {
    port: address.port,
    broken,
    served,
    gone,
    open: async () => {
      const peer = await RawPeer.connect(address.port);
      await until("the connection is accepted", () => ends.has(peer.localPort));
      const far = ends.get(peer.localPort);
      if (!far) throw new Error("the connection was closed at once");
      return { peer, ...far };
    },
    close: () => {
      server.close();
      for (const { connection } of ends.values()) connection.destroy();
    },
  };
}

/** Opens a connection whose peer has room for all there is. */
export async function openWide(scene: Scene): Promise<Ends> {
  const ends = await scene.open();
  ends.peer.greet([[settingIds.initialWindowSize, MAX_31_BITS]]);
  ends.peer.send(windowFrame(0, MAX_31_BITS - FIRST_WINDOW_BYTES));
  await ends.peer.settle();
  return ends;
}

/** The same, but its peer reads nothing, and so much waits for it that the socket takes no more. */
export async function openStuck(scene: Scene, path: string): Promise<Ends> {
  const ends = await openWide(scene);
  ends.peer.stopReading();
  ends.peer.send(requestFrame(1, flags.endStream, path));
  await until("the socket is full", () => ends.socket.writableLength > limits.unsentBytes);
  return ends;
}

/** Waits until it is so. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await pause(POLL_MS);
  }
}

/** The stream that joins those that were handed over when something is sent. */
export async function nextOf(handedOver: readonly ServerStream[], send: () => void): Promise<ServerStream> {
  const known = handedOver.length;
  send();
  await until("the request is handed over", () => handedOver.length > known);
  const stream = handedOver.at(-1);
  if (!stream) throw new Error("no stream was handed over");
  return stream;
}

/** Answers with headers alone, once all of the request has come. */
export function answerAtEnd(stream: ServerStream): void {
  stream.onEnd = () => stream.respondOnly([ok]);
}

/** Answers with more than the buffers of any connection take. */
export function answerLarge(stream: ServerStream): void {
  stream.respond([ok]);
  stream.write(large);
  stream.finish();
}

/** Sends a body back as it comes, and takes no more of it than its client takes. */
export function echo(stream: ServerStream): void {
  let owedBytes = 0;
  function giveRoom(): void {
    const bytes = owedBytes;
    owedBytes = 0;
    if (bytes > 0) stream.consumed(bytes);
  }
  stream.respond([ok]);
  stream.onDrain = giveRoom;
  stream.onData = (piece) => {
    owedBytes += piece.length;
    if (stream.write(piece)) giveRoom();
  };
  stream.onEnd = () => stream.finish();
}
