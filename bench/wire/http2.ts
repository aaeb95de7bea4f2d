import { connect, type Socket } from "node:net";
import { Code } from "@connectrpc/connect";
import { FRAME_HEAD_BYTES, flags, frameTypes, settingIds } from "#libs/http2";
import { RenewedMap } from "#libs/renewed";
import { addressOf, type Client, CONNECTION_LOST, OK, type Outcome } from "./client.ts";
import { frameHead, greeting, grpcStatusOf, windowUpdate } from "./frames.ts";
import { fillStencil, type Stencil } from "./stencil.ts";

export type Http2ClientOptions = {
  /** `http://host:port`; with several, connections are spread over them. */
  readonly urls: readonly string[];
  readonly connections: number;
};

type Done = (outcome: Outcome) => void;
type Queued = { readonly stencil: Stencil; readonly values: readonly string[]; readonly done: Done };

const WINDOW_BYTES = 1 << 30;
/** The peer gets its window back in pieces of this size. */
const WINDOW_STEP_BYTES = 1 << 24;
/** What any peer grants before it says otherwise. */
const FIRST_WINDOW_BYTES = 65_535;
const SLAB_BYTES = 1 << 18;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Opens connections for unary gRPC calls. It writes HTTP/2 frames by itself: a call takes about 4 µs here,
 * and 30 µs with node:http2, as much as the server needs for it.
 */
export async function openHttp2Client(options: Http2ClientOptions): Promise<Client> {
  const opening = Array.from({ length: options.connections }, (_, index) =>
    openConnection(options.urls[index % options.urls.length] ?? ""),
  );
  const connections = await Promise.all(opening);
  let turn = 0;
  return {
    send: (stencil, values, done) => {
      turn = (turn + 1) % connections.length;
      connections[turn]?.send(stencil, values, done);
    },
    close: () => {
      for (const connection of connections) connection.close();
    },
  };
}

async function openConnection(url: string): Promise<Http2Connection> {
  const { host, port } = addressOf(url);
  const socket = connect({ host, port, noDelay: true });
  const connection = new Http2Connection(socket);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${url} did not answer`)), CONNECT_TIMEOUT_MS);
    connection.onReady = () => {
      clearTimeout(timer);
      resolve();
    };
    socket.once("error", reject);
  });
  return connection;
}

class Http2Connection implements Client {
  onReady: (() => void) | undefined;
  readonly #socket: Socket;
  #underWay = new RenewedMap<number, Done>();
  readonly #queue: Queued[] = [];
  #nextStreamId = 1;
  #maxStreams = 0;
  #sendWindow = FIRST_WINDOW_BYTES;
  #received = 0;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #slabFrom = 0;
  #slabTo = 0;
  #flushing = false;
  #rest: Buffer | undefined;
  #lost = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("close", () => this.#lose());
    socket.on("error", () => this.#lose());
    socket.write(greeting(WINDOW_BYTES));
  }

  send(stencil: Stencil, values: readonly string[], done: Done): void {
    if (this.#lost) queueMicrotask(() => done(CONNECTION_LOST));
    else if (this.#hasRoom(stencil)) this.#write(stencil, values, done);
    else this.#queue.push({ stencil, values, done });
  }

  close(): void {
    this.#lost = true;
    this.#socket.destroy();
  }

  #hasRoom(stencil: Stencil): boolean {
    return this.#underWay.size < this.#maxStreams && this.#sendWindow >= stencil.bytes.length;
  }

  #write(stencil: Stencil, values: readonly string[], done: Done): void {
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    this.#underWay.set(streamId, done);
    const { length } = stencil.bytes;
    // More than the window loses, which counts bodies alone; the peer gives back what it counted.
    this.#sendWindow -= bodyBytesOf(stencil);
    if (this.#slabTo + length > SLAB_BYTES) {
      this.#flush();
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabFrom = 0;
      this.#slabTo = 0;
    }
    fillStencil(stencil, values, this.#slab, this.#slabTo, streamId);
    this.#slabTo += length;
    if (this.#flushing) return;
    // All that one turn of the event loop sends goes out in one piece.
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#slabTo === this.#slabFrom || this.#lost) return;
    this.#socket.write(this.#slab.subarray(this.#slabFrom, this.#slabTo));
    this.#slabFrom = this.#slabTo;
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      const end = at + FRAME_HEAD_BYTES + length;
      if (end > bytes.length) break;
      this.#take(
        bytes.readUInt8(at + 3),
        bytes.readUInt8(at + 4),
        bytes.readUInt32BE(at + 5),
        bytes,
        at,
        end,
      );
      at = end;
    }
    this.#rest = at === bytes.length ? undefined : bytes.subarray(at);
    this.#drainQueue();
  }

  #take(type: number, flag: number, streamId: number, bytes: Buffer, at: number, end: number): void {
    const from = at + FRAME_HEAD_BYTES;
    switch (type) {
      case frameTypes.data:
        this.#countReceived(end - from);
        return;
      case frameTypes.headers:
        if ((flag & flags.endHeaders) === 0 || (flag & (flags.padded | flags.priority)) !== 0) {
          throw new Error("the peer sends headers in a form that this client does not read");
        }
        if ((flag & flags.endStream) !== 0) this.#finish(streamId, outcomeOf(bytes.subarray(from, end)));
        return;
      case frameTypes.reset:
        this.#finish(streamId, "RESET");
        return;
      case frameTypes.settings:
        if ((flag & flags.ack) === 0) this.#settings(bytes, from, end);
        return;
      case frameTypes.ping:
        if ((flag & flags.ack) !== 0) return;
        this.#socket.write(frameHead(end - from, frameTypes.ping, flags.ack, 0));
        this.#socket.write(bytes.subarray(from, end));
        return;
      case frameTypes.windowUpdate:
        if (streamId === 0) this.#sendWindow += bytes.readUInt32BE(from);
        return;
      default:
        // GOAWAY is followed by the end of the connection, which says the same.
        return;
    }
  }

  #settings(bytes: Buffer, from: number, end: number): void {
    let maxStreams = this.#maxStreams || Number.MAX_SAFE_INTEGER;
    for (let at = from; at + 6 <= end; at += 6) {
      if (bytes.readUInt16BE(at) === settingIds.maxConcurrentStreams) maxStreams = bytes.readUInt32BE(at + 2);
    }
    this.#maxStreams = maxStreams;
    this.#socket.write(frameHead(0, frameTypes.settings, flags.ack, 0));
    this.onReady?.();
  }

  #countReceived(bytes: number): void {
    this.#received += bytes;
    if (this.#received < WINDOW_STEP_BYTES) return;
    this.#socket.write(windowUpdate(this.#received));
    this.#received = 0;
  }

  #finish(streamId: number, outcome: Outcome): void {
    const done = this.#underWay.get(streamId);
    // A stream may be reset behind its answer.
    if (!done) return;
    this.#underWay.delete(streamId);
    done(outcome);
  }

  #drainQueue(): void {
    let next = this.#queue[0];
    while (next && this.#hasRoom(next.stencil)) {
      this.#queue.shift();
      this.#write(next.stencil, next.values, next.done);
      next = this.#queue[0];
    }
  }

  #lose(): void {
    this.#lost = true;
    const waiting = [...this.#underWay.values(), ...this.#queue.map(({ done }) => done)];
    this.#underWay = new RenewedMap();
    this.#queue.length = 0;
    for (const done of waiting) done(CONNECTION_LOST);
  }
}

function bodyBytesOf({ bytes, streamIdPlaces }: Stencil): number {
  // The second frame is the body; its head's last four bytes are the number of the stream.
  return bytes.length - (streamIdPlaces[1] ?? 0) - 4;
}

// Blocks are the same for all calls that end alike, but for the id in a failure's headers.
const OUTCOMES_KEPT = 64;
const outcomes = new Map<string, Outcome>();

function outcomeOf(block: Buffer): Outcome {
  const key = block.toString("latin1");
  const known = outcomes.get(key);
  if (known) return known;
  const status = grpcStatusOf(block);
  const outcome = status === 0 ? OK : status === undefined ? "NO_STATUS" : (Code[status] ?? String(status));
  if (outcomes.size < OUTCOMES_KEPT) outcomes.set(key, outcome);
  return outcome;
}
