import { EventEmitter, once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  errorCodes,
  FRAME_HEAD_BYTES,
  flags,
  frameTypes,
  MAX_31_BITS,
  PREFACE,
  writeFrameHead,
} from "../frames.ts";
import { HeaderDecoder } from "../header-decoder.ts";
import { HeaderEncoder, type OutgoingField } from "../header-encoder.ts";
import type { HeaderField } from "../header-field.ts";

/** A frame that the server has sent; `fields` is what the headers that it completes say. */
export type Frame = {
  readonly type: number;
  readonly flag: number;
  readonly streamId: number;
  readonly payload: Buffer;
  readonly fields: readonly HeaderField[];
};

/** For whatever is to come about on one machine. */
const DEADLINE_MS = 8_000;
const END_HEADERS = flags.endHeaders;
const { data, headers, reset, settings, ping, goAway, windowUpdate, continuation } = frameTypes;

/** Makes any frame, a valid one or not. */
export function frame(
  type: number,
  flag: number,
  streamId: number,
  payload: Uint8Array = Buffer.of(),
): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length);
  writeFrameHead(bytes, 0, payload.length, type, flag, streamId);
  bytes.set(payload, FRAME_HEAD_BYTES);
  return bytes;
}

/** A number of 32 bits, as frames have them. */
export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Makes a block of headers that leaves the table as it is, whether they are allowed or not. */
export function blockOf(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const encoder = new HeaderEncoder();
  const outgoing: OutgoingField[] = fields.map(([name, value]) => ({ name, value }));
  const block = Buffer.alloc(encoder.bound(outgoing));
  return block.subarray(0, encoder.encode(outgoing, block, 0));
}

/** The pseudo-headers of a good request. */
export function pseudoHeaders(path: string): [name: string, value: string][] {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "test"],
  ];
}

/** A good request; with `flags.endStream` it is complete. */
export function requestFrame(
  streamId: number,
  flag: number,
  path = "/",
  more: readonly [name: string, value: string][] = [],
): Buffer {
  return frame(headers, flag | END_HEADERS, streamId, blockOf([...pseudoHeaders(path), ...more]));
}

/** A piece of a body. */
export function dataFrame(streamId: number, flag: number, payload: Uint8Array = Buffer.of()): Buffer {
  return frame(data, flag, streamId, payload);
}

/** Settings, by their numbers. */
export function settingsFrame(pairs: readonly (readonly [id: number, value: number])[] = []): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(settings, 0, 0, payload);
}

/** Room for so many bytes more. */
export function windowFrame(streamId: number, bytes: number): Buffer {
  return frame(windowUpdate, 0, streamId, number32(bytes));
}

/** Takes a request back. */
export function resetFrame(streamId: number): Buffer {
  return frame(reset, 0, streamId, number32(errorCodes.cancel));
}

/** A ping that carries this. */
export function pingFrame(text: string): Buffer {
  return frame(ping, 0, 0, Buffer.from(text.padEnd(8).slice(0, 8), "latin1"));
}

/** A client that sends whatever it is told to, and keeps all that it is sent. */
export class RawPeer {
  readonly frames: Frame[] = [];
  isClosed = false;
  readonly #socket: Socket;
  readonly #news = new EventEmitter();
  readonly #decoder = new HeaderDecoder({ tableBytes: 4_096, listBytes: 16_777_216 });
  readonly #block: Buffer[] = [];
  #rest = Buffer.of();
  #pings = 0;
  #answeredPing: string | undefined;
  #answersPings = true;
  readonly #unanswered: Buffer[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#news.setMaxListeners(0);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    // A server that cuts a connection off is what some tests are about: they see that it is closed.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#news.emit("news");
    });
  }

  static async connect(port: number): Promise<RawPeer> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    return new RawPeer(socket);
  }

  get localPort(): number | undefined {
    return this.#socket.localPort;
  }

  /** The preface and settings, which come first. */
  greet(pairs: readonly (readonly [id: number, value: number])[] = []): void {
    this.send(Buffer.from(PREFACE, "latin1"), settingsFrame(pairs));
  }

  send(...pieces: readonly Uint8Array[]): void {
    if (this.#socket.writable) this.#socket.write(Buffer.concat(pieces));
  }

  /** Lets what comes wait in the socket. */
  stopReading(): void {
    this.#socket.pause();
  }

  goOnReading(): void {
    this.#socket.resume();
  }

  /** Gives no sign of life. */
  stopAnswering(): void {
    this.#answersPings = false;
  }

  /** Gives those that it owes. */
  goOnAnswering(): void {
    this.#answersPings = true;
    for (const payload of this.#unanswered.splice(0)) this.#answer(payload);
  }

  /** Closes its half, and waits until the server has closed the other. */
  async end(): Promise<void> {
    this.#socket.end();
    await this.closed();
  }

  /** Vanishes, without a word of HTTP/2. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Waits until it is so; what the server does makes it be asked again. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    while (!isSo()) {
      if (this.isClosed) throw new Error(`the connection was closed before ${what}`);
      await once(this.#news, "news", { signal }).catch(() => {
        throw new Error(`not within ${DEADLINE_MS} ms: ${what}; there were ${this.told().join(", ")}`);
      });
    }
  }

  /** Waits until the server has worked off all that was sent, or has closed. */
  async settle(): Promise<void> {
    this.#pings += 1;
    const question = pingFrame(`ping${this.#pings}`);
    this.send(question);
    const text = question.toString("latin1", FRAME_HEAD_BYTES);
    await this.until("the ping is answered", () => this.isClosed || this.#answeredPing === text);
  }

  async closed(): Promise<void> {
    await this.until("the connection is closed", () => this.isClosed);
  }

  /** What was sent to this peer, in words, but for what every connection says. */
  told(): string[] {
    return this.frames.flatMap((sent) => wordsOf(sent) ?? []);
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    while (bytes.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      this.#take(bytes.readUInt8(3), bytes.readUInt8(4), bytes.readUInt32BE(5), bytes.subarray(9, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = Buffer.from(bytes);
    this.#news.emit("news");
  }

  #take(type: number, flag: number, streamId: number, payload: Buffer): void {
    let fields: readonly HeaderField[] = [];
    if (type === ping && (flag & flags.ack) !== 0) this.#answeredPing = payload.toString("latin1");
    else if (type === ping) this.#answer(payload);
    if (type === headers || type === continuation) {
      this.#block.push(payload);
      if ((flag & END_HEADERS) !== 0) {
        fields = this.#decoder.decode(Buffer.concat(this.#block.splice(0))) ?? [];
      }
    }
    this.frames.push({ type, flag, streamId, payload, fields });
  }

  #answer(payload: Buffer): void {
    if (this.#answersPings) this.send(frame(ping, flags.ack, 0, payload));
    else this.#unanswered.push(payload);
  }
}

function wordsOf({ type, flag, streamId, payload, fields }: Frame): string | undefined {
  const end = (flag & flags.endStream) !== 0 ? " END" : "";
  switch (type) {
    case headers:
      return `HEADERS ${streamId} ${fields.find(({ name }) => name === ":status")?.value ?? ""}${end}`;
    case data:
      return `DATA ${streamId} ${payload.length}${end}`;
    case reset:
      return `RST_STREAM ${streamId} ${codeName(payload.readUInt32BE(0))}`;
    case goAway:
      return `GOAWAY ${streamName(payload.readUInt32BE(0))} ${codeName(payload.readUInt32BE(4))}`;
    default:
      return undefined;
  }
}

function streamName(streamId: number): string {
  return streamId === MAX_31_BITS ? "SOON" : String(streamId);
}

/** What RFC 9113, section 7, calls a code. */
function codeName(code: number): string {
  const name = Object.entries(errorCodes).find(([, value]) => value === code)?.[0] ?? String(code);
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
