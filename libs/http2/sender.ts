import {
  ConnectionError,
  type ErrorCode,
  errorCodes,
  FIRST_MAX_FRAME_BYTES,
  FIRST_WINDOW_BYTES,
  FRAME_HEAD_BYTES,
  flags,
  frameTypes,
  MAX_31_BITS,
  settingIds,
  writeFrameHead,
} from "./frames.ts";
import { HeaderEncoder, type OutgoingField } from "./header-encoder.ts";
import { limits } from "./limits.ts";
import type { Output } from "./output.ts";
import type { ServerStream } from "./stream.ts";

const ERROR_BYTES = 4;
const SETTING_BYTES = 6;

/**
 * The half of a connection that speaks: it keeps to what the peer has room for, and gathers what is small.
 */
export class Sender {
  /** What the peer takes of an answer before it says more. */
  firstStreamWindow = FIRST_WINDOW_BYTES;
  /** Told of a stream whose answer is complete, or which was broken off by us. */
  onClosed: (stream: ServerStream, isBrokenOff: boolean) => void = () => {};
  /** Told when more waits for the peer than may. */
  onOverfull: () => void = () => {};
  readonly #output: Output;
  readonly #encoder = new HeaderEncoder();
  /**
   * Streams with pieces that wait for the connection, in the order in which they began to. Those that turn
   * out to have no room of their own leave, until they have.
   */
  readonly #waiting = new Set<ServerStream>();
  #waitingBytes = 0;
  #window = FIRST_WINDOW_BYTES;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Takes over one of the peer's settings. */
  setting(id: number, value: number): void {
    switch (id) {
      case settingIds.headerTableSize:
        this.#encoder.limitTable(value);
        return;
      case settingIds.enablePush:
        if (value > 1) throw new ConnectionError(errorCodes.protocolError, "ENABLE_PUSH is 0 or 1");
        return;
      case settingIds.maxFrameSize:
        if (value < FIRST_MAX_FRAME_BYTES || value > 0xff_ffff) {
          throw new ConnectionError(errorCodes.protocolError, "MAX_FRAME_SIZE is 2^14 to 2^24-1");
        }
        // Ours stay small, so that all answers get their turn.
        return;
      case settingIds.initialWindowSize:
        if (value > MAX_31_BITS)
          throw new ConnectionError(errorCodes.flowControlError, "a window has 31 bits");
        this.firstStreamWindow = value;
        return;
      default:
        // Settings that nobody knows are to be ignored.
        return;
    }
  }

  /** The peer has room for more, on the connection or on one stream; false if that is more than can be. */
  grant(bytes: number, stream?: ServerStream): boolean {
    if (stream) stream.sendWindow += bytes;
    else this.#window += bytes;
    if ((stream?.sendWindow ?? this.#window) > MAX_31_BITS) return false;
    if (!stream) this.sendWaiting();
    else if (stream.unsent.length > 0) {
      this.#waiting.add(stream);
      this.#goOn(stream);
    }
    return true;
  }

  /** The peer has room for so many bytes more on a stream than before; false if that is more than can be. */
  widen(bytes: number, stream: ServerStream): boolean {
    stream.sendWindow += bytes;
    // What it is for is sent behind the acknowledgement of the settings that said so.
    if (stream.unsent.length > 0) this.#waiting.add(stream);
    return stream.sendWindow <= MAX_31_BITS;
  }

  /** Our settings, and the window of the connection, which begins smaller. */
  greet(settings: readonly (readonly [id: number, value: number])[], connectionWindowBytes: number): void {
    const at = this.#frame(settings.length * SETTING_BYTES, frameTypes.settings, 0, 0);
    let end = at;
    for (const [id, value] of settings) {
      this.#output.bytes.writeUInt16BE(id, end);
      this.#output.bytes.writeUInt32BE(value, end + 2);
      end += SETTING_BYTES;
    }
    this.#output.commit(end);
    this.windowUpdate(0, connectionWindowBytes - FIRST_WINDOW_BYTES);
  }

  acknowledgeSettings(): void {
    this.#output.commit(this.#frame(0, frameTypes.settings, flags.ack, 0));
    // Behind the acknowledgement, so that the peer knows by which settings.
    this.sendWaiting();
  }

  /** Asks for a sign of life; with `flags.ack` it gives one. */
  ping(data: Uint8Array, flag: number): void {
    const at = this.#frame(data.length, frameTypes.ping, flag, 0);
    this.#output.bytes.set(data, at);
    this.#output.commit(at + data.length);
  }

  windowUpdate(streamId: number, bytes: number): void {
    this.#number(bytes, frameTypes.windowUpdate, streamId);
  }

  reset(streamId: number, code: ErrorCode): void {
    this.#number(code, frameTypes.reset, streamId);
  }

  /** Says which stream is the last that will be served, and why. */
  goAway(lastStreamId: number, code: ErrorCode): void {
    const at = this.#frame(2 * ERROR_BYTES, frameTypes.goAway, 0, 0);
    this.#output.bytes.writeUInt32BE(lastStreamId, at);
    this.#output.bytes.writeUInt32BE(code, at + ERROR_BYTES);
    this.#output.commit(at + 2 * ERROR_BYTES);
  }

  headers(streamId: number, fields: readonly OutgoingField[], endStream: boolean): void {
    const flag = endStream ? flags.endStream : 0;
    const bound = this.#encoder.bound(fields);
    if (bound > FIRST_MAX_FRAME_BYTES) {
      this.#longHeaders(streamId, fields, bound, flag);
      return;
    }
    const at = this.#output.reserve(FRAME_HEAD_BYTES + bound);
    const from = at + FRAME_HEAD_BYTES;
    const end = this.#encoder.encode(fields, this.#output.bytes, from);
    const type = frameTypes.headers;
    writeFrameHead(this.#output.bytes, at, end - from, type, flag | flags.endHeaders, streamId);
    this.#output.commit(end);
  }

  /** Sends a piece of a body, or as much as there is room for; false if some of it has to wait. */
  body(stream: ServerStream, piece: Uint8Array): boolean {
    if (stream.unsent.length > 0) this.#keep(stream, piece);
    else if (this.#send(stream, piece) === piece.length) return true;
    this.#waiting.add(stream);
    if (this.#waitingBytes > limits.waitingBytes) this.onOverfull();
    // If it was this one that was broken off, its writer has nothing to wait for.
    return stream.closed;
  }

  /** Ends a stream that has no trailers. */
  emptyEnd(streamId: number): void {
    this.#output.commit(this.#frame(0, frameTypes.data, flags.endStream, streamId));
  }

  /** Sends what waited, as far as there is room now. */
  sendWaiting(): void {
    for (const stream of this.#waiting) {
      if (this.#window <= 0 || this.#isFull()) return;
      this.#goOn(stream);
    }
  }

  /** Keeps nothing for a stream that is over. */
  forget(stream: ServerStream): void {
    this.#waiting.delete(stream);
    this.#countNothing(stream);
  }

  #goOn(stream: ServerStream): void {
    if (stream.sendWindow <= 0) {
      this.#waiting.delete(stream);
      return;
    }
    stream.heardAt = performance.now();
    if (!this.#sendUnsent(stream)) return;
    this.#waiting.delete(stream);
    if (stream.isFinishing) stream.end();
    else stream.onDrain?.();
  }

  #sendUnsent(stream: ServerStream): boolean {
    const pieces = stream.unsent.splice(0);
    this.#countNothing(stream);
    for (const [index, piece] of pieces.entries()) {
      if (this.#send(stream, piece) === piece.length) continue;
      // What was left of this piece stands in `unsent` again.
      for (const later of pieces.slice(index + 1)) this.#keep(stream, later);
      return false;
    }
    return true;
  }

  #keep(stream: ServerStream, piece: Uint8Array): void {
    stream.unsent.push(piece);
    stream.unsentBytes += piece.length;
    this.#waitingBytes += piece.length;
  }

  #countNothing(stream: ServerStream): void {
    this.#waitingBytes -= stream.unsentBytes;
    stream.unsentBytes = 0;
  }

  // Sends from the beginning of a piece what there is room for, and keeps the rest.
  #send(stream: ServerStream, piece: Uint8Array): number {
    let sent = 0;
    while (sent < piece.length) {
      const room = this.#isFull() ? 0 : Math.min(this.#window, stream.sendWindow, FIRST_MAX_FRAME_BYTES);
      const length = Math.min(room, piece.length - sent);
      if (length <= 0) {
        this.#keep(stream, sent === 0 ? piece : piece.subarray(sent));
        return sent;
      }
      const at = this.#frame(length, frameTypes.data, 0, stream.id);
      this.#output.bytes.set(length === piece.length ? piece : piece.subarray(sent, sent + length), at);
      this.#output.commit(at + length);
      this.#window -= length;
      stream.sendWindow -= length;
      sent += length;
    }
    return sent;
  }

  #isFull(): boolean {
    return this.#output.unsent() > limits.unsentBytes;
  }

  // Headers that may need more than one frame: an error with thousands of details.
  #longHeaders(streamId: number, fields: readonly OutgoingField[], bound: number, flag: number): void {
    const block = Buffer.allocUnsafe(bound);
    const length = this.#encoder.encode(fields, block, 0);
    for (let from = 0; from < length; from += FIRST_MAX_FRAME_BYTES) {
      const to = Math.min(from + FIRST_MAX_FRAME_BYTES, length);
      const type = from === 0 ? frameTypes.headers : frameTypes.continuation;
      const flagged = (from === 0 ? flag : 0) | (to === length ? flags.endHeaders : 0);
      const at = this.#frame(to - from, type, flagged, streamId);
      block.copy(this.#output.bytes, at, from, to);
      this.#output.commit(at + to - from);
    }
  }

  #number(value: number, type: number, streamId: number): void {
    const at = this.#frame(ERROR_BYTES, type, 0, streamId);
    this.#output.bytes.writeUInt32BE(value, at);
    this.#output.commit(at + ERROR_BYTES);
  }

  // Writes the head of a frame and says where its payload goes.
  #frame(length: number, type: number, flag: number, streamId: number): number {
    const at = this.#output.reserve(FRAME_HEAD_BYTES + length);
    writeFrameHead(this.#output.bytes, at, length, type, flag, streamId);
    return at + FRAME_HEAD_BYTES;
  }
}
