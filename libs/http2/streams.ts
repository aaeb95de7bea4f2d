import { RenewedMap } from "#libs/renewed";
import { ConnectionError, type ErrorCode, errorCodes, flags } from "./frames.ts";
import { RepeatedField } from "./header-encoder.ts";
import type { HeaderField } from "./header-field.ts";
import { limits } from "./limits.ts";
import { RateLimit } from "./rate-limit.ts";
import { areTrailers, readRequestHead } from "./request-head.ts";
import type { Sender } from "./sender.ts";
import { type Bodies, ServerStream } from "./stream.ts";

export type StreamsOptions = {
  readonly onRequest: (stream: ServerStream) => void;
  readonly streamWindowBytes: number;
};

/**
 * What still comes for streams that we have broken off is no fault of the peer; all that may be under way.
 */
const BROKEN_OFF_KEPT = limits.concurrentStreams;
const headersTooLarge = [new RepeatedField(":status", "431")];

/** The streams of one connection: which are open, how far each is, and what may come for it. */
export class Streams {
  readonly #open = new RenewedMap<number, ServerStream>();
  readonly #brokenOff = new Set<number>();
  readonly #resets = new RateLimit(limits.resets, limits.resetsPerSecond);
  readonly #sender: Sender;
  readonly #options: StreamsOptions;
  #lastId = 0;
  readonly #bodies: Bodies = { keptBytes: 0 };
  #refusesNew = false;
  #refusedUpTo = 0;

  constructor(sender: Sender, options: StreamsOptions) {
    this.#sender = sender;
    this.#options = options;
  }

  size(): number {
    return this.#open.size;
  }

  /** The newest stream that is served. */
  lastId(): number {
    return this.#lastId;
  }

  /** From now on new streams are refused: their requests may be sent to another instance. */
  refuseNew(): void {
    this.#refusesNew = true;
  }

  /** Takes a block of headers: a new request, or the trailers of one. */
  open(streamId: number, fields: readonly HeaderField[] | undefined, flag: number): void {
    const isLast = (flag & flags.endStream) !== 0;
    const stream = this.#open.get(streamId);
    if (stream) {
      this.#takeTrailers(stream, fields, isLast);
      return;
    }
    if (streamId <= this.#lastId) {
      if (this.#brokenOff.has(streamId)) return;
      throw new ConnectionError(errorCodes.streamClosed, "headers of a stream that is over");
    }
    if (streamId % 2 === 0) throw new ConnectionError(errorCodes.protocolError, "an even number of a stream");
    if (this.#refusesNew || this.#open.size >= limits.concurrentStreams) {
      // Not counted as seen when we are leaving: the farewell has said which is the last.
      if (this.#refusesNew) this.#refusedUpTo = Math.max(streamId, this.#refusedUpTo);
      else this.#lastId = streamId;
      this.#breakOff(streamId, errorCodes.refusedStream);
      return;
    }
    this.#lastId = streamId;
    this.#begin(streamId, fields, isLast);
  }

  /**
   * Takes a piece of a body, which is `bytes` from `from` up to `to`, and `length` with its padding; false if
   * its stream is over.
   */
  takeData(
    streamId: number,
    bytes: Buffer,
    from: number,
    to: number,
    length: number,
    isLast: boolean,
  ): boolean {
    const stream = this.#open.get(streamId);
    if (!stream || stream.ended) {
      this.#expectKnown(streamId);
      return this.#brokenOff.has(streamId);
    }
    // Not for empty ones, which could come without end.
    if (to > from) stream.heardAt = performance.now();
    stream.receiveWindow -= length;
    stream.take(to - from);
    if (stream.receiveWindow < 0) {
      this.#end(stream, errorCodes.flowControlError);
      return true;
    }
    if (!hasRightLength(stream, isLast)) {
      this.#end(stream, errorCodes.protocolError);
      return true;
    }
    // A request that is complete with this keeps nothing.
    if (!isLast && this.#bodies.keptBytes > limits.incompleteBytes) {
      this.#breakOffLargest((other) => other.keptBytes(), errorCodes.enhanceYourCalm);
    }
    if (stream.closed) {
      this.#readAway(stream, isLast);
      return true;
    }
    // Padding is nobody's.
    if (length > to - from) stream.giveBack(length - (to - from));
    if (to > from) stream.onData?.(bytes.subarray(from, to));
    if (isLast) this.#complete(stream);
    return true;
  }

  /** The peer takes a request back, or wants no more of its answer. */
  takeReset(streamId: number): void {
    this.#expectKnown(streamId);
    const stream = this.#open.get(streamId);
    if (!stream) return;
    this.#open.delete(stream.id);
    stream.leave();
    this.#countReset();
  }

  /** The peer has room for more. */
  grant(streamId: number, bytes: number): void {
    if (streamId === 0) {
      if (bytes === 0) throw new ConnectionError(errorCodes.protocolError, "a window update of nothing");
      if (this.#sender.grant(bytes)) return;
      throw new ConnectionError(errorCodes.flowControlError, "a window has 31 bits");
    }
    this.#expectKnown(streamId);
    const stream = this.#open.get(streamId);
    if (!stream) return;
    stream.heardAt = performance.now();
    if (bytes === 0) this.#end(stream, errorCodes.protocolError);
    else if (!this.#sender.grant(bytes, stream)) this.#end(stream, errorCodes.flowControlError);
  }

  /** The peer takes so many bytes more of each answer than before. */
  widen(bytes: number): void {
    if (bytes === 0) return;
    for (const stream of this.#open.values()) {
      if (this.#sender.widen(bytes, stream)) continue;
      throw new ConnectionError(errorCodes.flowControlError, "a window has 31 bits");
    }
  }

  /** A fault of the peer at a stream, which ends for it; at one that is not open it is the connection's. */
  blame(streamId: number, code: ErrorCode): void {
    const stream = this.#open.get(streamId);
    if (!stream) throw new ConnectionError(code, `a faulty frame of stream ${streamId}`);
    this.#end(stream, code);
  }

  /** Breaks off a stream for a fault of the peer. */
  reset(streamId: number, code: ErrorCode): void {
    const stream = this.#open.get(streamId);
    if (stream) this.#end(stream, code);
    else this.#breakOff(streamId, code);
  }

  /**
   * Forgets a stream whose answer is complete once all of its request has come, or which we have broken off.
   */
  remove(stream: ServerStream, isBrokenOff: boolean): void {
    if (isBrokenOff && !stream.ended) this.#remember(stream.id);
    if (isBrokenOff || stream.ended) this.#open.delete(stream.id);
  }

  /** Breaks off the streams whose peer owes something since before that moment. */
  sweep(since: number): void {
    for (const stream of this.#open.values()) {
      // Who is being answered while he asks may think for as long as he likes.
      const isAsking = !stream.ended && (stream.closed || !stream.isAnswering);
      const isOwed = isAsking || stream.unsent.length > 0;
      if (isOwed && stream.heardAt < since) this.#end(stream, errorCodes.cancel);
    }
  }

  /** More waits for the peer than may: the answer of which most does is broken off. */
  breakOffUnread(): void {
    // Not ENHANCE_YOUR_CALM, by which a client may know that nothing was done.
    this.#breakOffLargest(({ unsentBytes }) => unsentBytes, errorCodes.cancel);
  }

  /** The connection is gone. */
  leaveAll(): void {
    for (const stream of this.#open.values()) {
      this.#open.delete(stream.id);
      stream.leave();
    }
  }

  #begin(streamId: number, fields: readonly HeaderField[] | undefined, isLast: boolean): void {
    if (fields === undefined) {
      this.#sender.headers(streamId, headersTooLarge, true);
      if (!isLast) this.#breakOff(streamId, errorCodes.noError);
      return;
    }
    const head = readRequestHead(fields);
    if (!head || (isLast && (head.contentLength ?? 0) > 0)) {
      this.#breakOff(streamId, errorCodes.protocolError);
      return;
    }
    const window = this.#options.streamWindowBytes;
    const stream = new ServerStream(streamId, head, this.#sender, this.#bodies, window);
    stream.ended = isLast;
    this.#open.set(streamId, stream);
    this.#options.onRequest(stream);
    if (isLast && !stream.closed) stream.onEnd?.();
  }

  #takeTrailers(stream: ServerStream, fields: readonly HeaderField[] | undefined, isLast: boolean): void {
    if (stream.ended) throw new ConnectionError(errorCodes.streamClosed, "headers behind a request");
    const isRight = isLast && fields && areTrailers(fields) && hasRightLength(stream, true);
    if (!isRight) this.#end(stream, errorCodes.protocolError);
    else this.#complete(stream);
  }

  #complete(stream: ServerStream): void {
    stream.ended = true;
    stream.letGo();
    if (stream.closed) this.#open.delete(stream.id);
    else stream.onEnd?.();
  }

  // What still comes of a request that was answered: its client stops when it sees the answer, or is made to.
  #readAway(stream: ServerStream, isLast: boolean): void {
    if (isLast) this.#complete(stream);
    else if (stream.receivedBytes * 2 > this.#options.streamWindowBytes) stream.stopReading();
  }

  // The stream that keeps the most, and of several the oldest: behind a proxy those that share a connection
  // are strangers, and the one that just sends need not be the one that takes the room. One is enough: it
  // keeps no less than what has made it too much.
  #breakOffLargest(bytesOf: (stream: ServerStream) => number, code: ErrorCode): void {
    let largest: ServerStream | undefined;
    let mostBytes = 0;
    for (const stream of this.#open.values()) {
      const bytes = bytesOf(stream);
      if (bytes <= mostBytes) continue;
      largest = stream;
      mostBytes = bytes;
    }
    if (largest) this.#end(largest, code);
  }

  // The stream ends, and whoever serves it is told as if the peer had gone. A fault of the peer is counted:
  // to make us break a request off costs us as much as to take it back (CVE-2025-8671).
  #end(stream: ServerStream, code: ErrorCode): void {
    this.#breakOff(stream.id, code);
    this.#open.delete(stream.id);
    stream.leave();
    if (code !== errorCodes.cancel && code !== errorCodes.enhanceYourCalm) this.#countReset();
  }

  #countReset(): void {
    if (this.#resets.take()) return;
    throw new ConnectionError(errorCodes.enhanceYourCalm, "too many requests were taken back");
  }

  #breakOff(streamId: number, code: ErrorCode): void {
    this.#sender.reset(streamId, code);
    this.#remember(streamId);
  }

  #remember(streamId: number): void {
    this.#brokenOff.add(streamId);
    if (this.#brokenOff.size <= BROKEN_OFF_KEPT) return;
    for (const oldest of this.#brokenOff) {
      this.#brokenOff.delete(oldest);
      return;
    }
  }

  #expectKnown(streamId: number): void {
    // Those that came after our farewell are refused, and may still be spoken of.
    if (streamId % 2 === 1 && streamId <= Math.max(this.#lastId, this.#refusedUpTo)) return;
    throw new ConnectionError(errorCodes.protocolError, `nothing is known of stream ${streamId}`);
  }
}

// A client that said how long its body is has to keep to it.
function hasRightLength({ head, receivedBytes }: ServerStream, isLast: boolean): boolean {
  const { contentLength } = head;
  if (contentLength === undefined) return true;
  return isLast ? receivedBytes === contentLength : receivedBytes <= contentLength;
}
