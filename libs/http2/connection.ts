import type { Socket } from "node:net";
import { FrameReader } from "./frame-reader.ts";
import {
  ConnectionError,
  type ErrorCode,
  errorCodes,
  flags,
  frameTypes,
  MAX_31_BITS,
  settingIds,
} from "./frames.ts";
import { HeaderBlocks } from "./header-blocks.ts";
import { CompressionError } from "./header-decoder.ts";
import { limits } from "./limits.ts";
import { Output } from "./output.ts";
import { RateLimit } from "./rate-limit.ts";
import { Sender } from "./sender.ts";
import type { ServerStream } from "./stream.ts";
import { Streams } from "./streams.ts";

export type ConnectionOptions = {
  /** Gets each request in the turn in which its headers have come. */
  readonly onRequest: (stream: ServerStream) => void;
  /** What a client may send of one request's body before any of it is consumed. */
  readonly streamWindowBytes: number;
  /** Told why a connection was ended. */
  readonly onBroken: (error: Error) => void;
};

/** Eight bytes, as pings have. */
const FAREWELL = Buffer.from("farewell", "latin1");

/** One client's connection: takes its frames and keeps its streams (RFC 9113). */
export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #output: Output;
  readonly #sender: Sender;
  readonly #streams: Streams;
  readonly #blocks: HeaderBlocks;
  readonly #reader: FrameReader;
  readonly #openedAt = performance.now();
  readonly #strays = new RateLimit(limits.strayFrames, limits.strayFrames);
  readonly #settings = new RateLimit(limits.settings, limits.settingsPerSecond);
  #receiveWindow = limits.connectionWindowBytes;
  #answersUnsent = 0;
  /** What the peer had taken of our bytes at the last sweep, and at which sweep it last had taken any. */
  #takenBytes = 0;
  #takenAt = performance.now();
  /** Since the peer was asked to send no more requests: how long he may take to have read that. */
  #farewell: NodeJS.Timeout | undefined;
  #isLeaving = false;
  #isOver = false;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#output = new Output(socket);
    this.#sender = new Sender(this.#output);
    this.#streams = new Streams(this.#sender, options);
    this.#blocks = new HeaderBlocks((streamId, fields, flag) => {
      this.#streams.open(streamId, fields, flag);
    });
    this.#reader = new FrameReader((type, flag, streamId, bytes, from, to) => {
      this.#take(type, flag, streamId, bytes, from, to);
    });
    this.#sender.onClosed = (stream, isBrokenOff) => {
      this.#streams.remove(stream, isBrokenOff);
      this.#closeIfDone();
    };
    this.#sender.onOverfull = () => {
      this.#streams.breakOffUnread();
      this.#closeIfDone();
    };
    this.#greet();
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("drain", () => this.#drain());
    socket.on("end", () => this.#lose());
    socket.on("error", (error) => options.onBroken(error));
    socket.on("close", () => this.#lose());
  }

  /** Streams that are not over. */
  open(): number {
    return this.#streams.size();
  }

  /**
   * Asks the peer to send no more requests, answers those that he has sent until he has read it, and closes
   * then (RFC 9113, section 6.8): none is refused but those of a peer who does not read or does not listen.
   */
  leave(): void {
    if (this.#isLeaving || this.#farewell) return;
    this.#farewell = setTimeout(() => this.#refuseNew(), limits.farewellMs).unref();
    this.#sender.goAway(MAX_31_BITS, errorCodes.noError);
    this.#sender.ping(FAREWELL, 0);
  }

  /** Ends it at once. */
  destroy(): void {
    this.#socket.destroy();
    this.#lose();
  }

  /** Ends what has been silent for too long: the connection, or streams of it. */
  sweep(now: number): void {
    if (!this.#reader.isIntroduced() && now - this.#openedAt > limits.prefaceMs) this.destroy();
    const unsent = this.#output.unsent();
    const takenBytes = this.#socket.bytesWritten - unsent;
    if (unsent === 0 || takenBytes > this.#takenBytes) this.#takenAt = now;
    else if (now - this.#takenAt > limits.unsentMs) this.destroy();
    this.#takenBytes = takenBytes;
    this.#streams.sweep(now - limits.streamSilenceMs);
    this.#closeIfDone();
  }

  #greet(): void {
    const settings = [
      [settingIds.maxConcurrentStreams, limits.concurrentStreams],
      [settingIds.initialWindowSize, this.#options.streamWindowBytes],
      [settingIds.maxHeaderListSize, limits.headerListBytes],
    ] as const;
    this.#sender.greet(settings, limits.connectionWindowBytes);
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#reader.read(chunk);
    } catch (error) {
      this.#break(error);
    }
    this.#closeIfDone();
    // Without waiting for the end of the turn: whoever was refused need not wait for those who came with him.
    this.#output.flush();
    // Answers without a body have no windows: a peer that does not read them is not listened to.
    if (this.#output.unsent() > 2 * limits.unsentBytes) this.#socket.pause();
  }

  #take(type: number, flag: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    // Whoever serves a request may end the connection; what came with it is nobody's then.
    if (this.#isOver) return;
    if (this.#blocks.isOpen() && type !== frameTypes.continuation) {
      throw new ConnectionError(errorCodes.protocolError, "a frame in the middle of headers");
    }
    switch (type) {
      case frameTypes.data:
        this.#takeData(flag, streamId, bytes, from, to);
        return;
      case frameTypes.headers:
        this.#blocks.begin(flag, streamId, bytes, from, to);
        return;
      case frameTypes.continuation:
        this.#blocks.continue(flag, streamId, bytes, from, to);
        return;
      case frameTypes.windowUpdate:
        expectLength(to - from, 4);
        this.#streams.grant(streamId, bytes.readUInt32BE(from) & 0x7fff_ffff);
        return;
      case frameTypes.reset:
        expectLength(to - from, 4);
        this.#streams.takeReset(streamId);
        return;
      case frameTypes.settings:
        expectStream(streamId === 0);
        this.#takeSettings(flag, bytes, from, to);
        return;
      case frameTypes.ping:
        expectStream(streamId === 0);
        expectLength(to - from, 8);
        this.#takePing(flag, bytes.subarray(from, to));
        return;
      case frameTypes.priority:
        expectStream(streamId > 0);
        this.#takePriority(streamId, bytes, from, to);
        return;
      case frameTypes.goAway:
        expectStream(streamId === 0);
        if (to - from < 8) throw new ConnectionError(errorCodes.frameSizeError, "a short GOAWAY");
        this.#refuseNew();
        return;
      case frameTypes.pushPromise:
        throw new ConnectionError(errorCodes.protocolError, "clients do not push");
      default:
        // Frames that nobody knows are to be ignored.
        return;
    }
  }

  #takeData(flag: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    expectStream(streamId > 0);
    // Padding counts too, and what comes for streams that are over. It never runs out: a frame is far smaller
    // than half of it.
    this.#receiveWindow -= to - from;
    if (this.#receiveWindow * 2 < limits.connectionWindowBytes) {
      this.#sender.windowUpdate(0, limits.connectionWindowBytes - this.#receiveWindow);
      this.#receiveWindow = limits.connectionWindowBytes;
    }
    const isPadded = (flag & flags.padded) !== 0;
    if (isPadded && from === to)
      throw new ConnectionError(errorCodes.frameSizeError, "no length of the padding");
    const padding = isPadded ? bytes.readUInt8(from) : 0;
    const start = isPadded ? from + 1 : from;
    if (start + padding > to) throw new ConnectionError(errorCodes.protocolError, "more padding than data");
    const isLast = (flag & flags.endStream) !== 0;
    const isKnown = this.#streams.takeData(streamId, bytes, start, to - padding, to - from, isLast);
    if (!isKnown) this.#stray(streamId);
  }

  #takeSettings(flag: number, bytes: Buffer, from: number, to: number): void {
    if ((flag & flags.ack) !== 0) {
      expectLength(to - from, 0);
      return;
    }
    if (!this.#settings.take()) throw new ConnectionError(errorCodes.enhanceYourCalm, "too many settings");
    if ((to - from) % 6 !== 0) throw new ConnectionError(errorCodes.frameSizeError, "half a setting");
    const { firstStreamWindow } = this.#sender;
    for (let at = from; at < to; at += 6) {
      this.#sender.setting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    }
    // Once a frame, however often it says so: there may be thousands of streams.
    this.#streams.widen(this.#sender.firstStreamWindow - firstStreamWindow);
    this.#sender.acknowledgeSettings();
  }

  #takePing(flag: number, data: Uint8Array): void {
    if ((flag & flags.ack) === 0) {
      this.#countAnswer();
      this.#sender.ping(data, flags.ack);
    } else if (this.#farewell) {
      // It is the only ping of ours.
      this.#refuseNew();
    }
  }

  // Priorities have no meaning any more (RFC 9113, section 5.3), but their form is still judged.
  #takePriority(streamId: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 5) this.#streams.blame(streamId, errorCodes.frameSizeError);
    else if ((bytes.readUInt32BE(from) & 0x7fff_ffff) === streamId) {
      this.#streams.blame(streamId, errorCodes.protocolError);
    }
  }

  // A frame for a stream that is over: told once in a while, and no end of it is not borne.
  #stray(streamId: number): void {
    if (!this.#strays.take()) {
      throw new ConnectionError(errorCodes.enhanceYourCalm, "too many frames for streams that are over");
    }
    this.#streams.reset(streamId, errorCodes.streamClosed);
  }

  // What the peer makes us say must be read by it.
  #countAnswer(): void {
    this.#answersUnsent = this.#output.unsent() === 0 ? 0 : this.#answersUnsent + 1;
    if (this.#answersUnsent <= limits.unsentAnswers) return;
    throw new ConnectionError(errorCodes.enhanceYourCalm, "too many pings whose answers are not read");
  }

  #drain(): void {
    this.#socket.resume();
    this.#sender.sendWaiting();
  }

  #refuseNew(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    clearTimeout(this.#farewell);
    this.#streams.refuseNew();
    this.#sender.goAway(this.#streams.lastId(), errorCodes.noError);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#isLeaving && this.#streams.size() === 0) this.#end();
  }

  #break(error: unknown): void {
    const known = asConnectionError(error);
    this.#options.onBroken(known);
    this.#isLeaving = true;
    this.#sender.goAway(this.#streams.lastId(), known.code);
    this.#end();
    this.#lose();
  }

  // The last frames are sent; a peer that does not close in return is cut off.
  #end(): void {
    if (this.#socket.writableEnded) return;
    this.#output.flush();
    // From when all has left: until then the sweep judges how the peer reads.
    this.#socket.end(() => {
      setTimeout(() => this.#socket.destroy(), limits.farewellMs).unref();
    });
  }

  #lose(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#farewell);
    if (!this.#socket.writableEnded) this.#socket.end();
    this.#streams.leaveAll();
  }
}

function expectStream(isRight: boolean): void {
  if (!isRight) throw new ConnectionError(errorCodes.protocolError, "a frame on the wrong stream");
}

function expectLength(length: number, expected: number): void {
  if (length === expected) return;
  throw new ConnectionError(errorCodes.frameSizeError, `a frame of ${length} bytes, not ${expected}`);
}

function asConnectionError(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error;
  if (error instanceof CompressionError) {
    return new ConnectionError(errorCodes.compressionError, error.message);
  }
  const code: ErrorCode = errorCodes.internalError;
  const defect = new ConnectionError(code, "a defect of the server");
  defect.cause = error;
  return defect;
}
