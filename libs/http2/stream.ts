import { type ErrorCode, errorCodes } from "./frames.ts";
import type { OutgoingField } from "./header-encoder.ts";
import type { RequestHead } from "./request-head.ts";
import type { Sender } from "./sender.ts";

/** The least that is given back of a window at once. */
const GIVEN_BACK_BYTES = 16_384;

/** What is kept of the requests of a connection that are not complete, in bytes. */
export type Bodies = { keptBytes: number };

/**
 * One request and its answer. Whoever serves it sets the listeners in the turn in which it gets the stream;
 * what is written after the peer has gone is dropped.
 */
export class ServerStream {
  readonly id: number;
  readonly head: RequestHead;
  /** Gets the request's body; the pieces may be kept. More than the window comes only after `consumed`. */
  onData: ((piece: Buffer) => void) | undefined;
  /** Told once, when all of the request has come. */
  onEnd: (() => void) | undefined;
  /**
   * Told once, when the peer has taken the request back, or its connection is gone, before it was answered.
   */
  onGone: (() => void) | undefined;
  /** Told when what `write` kept back has left. */
  onDrain: (() => void) | undefined;

  // What follows is kept by the connection and its sender.

  /** All of the request has come. */
  ended = false;
  /** The answer has begun. */
  isAnswering = false;
  /**
   * The answer is complete, or nobody wants it any more. The stream is over when all of the request has come,
   * too.
   */
  closed = false;
  receivedBytes = 0;
  /** What the peer may still send. */
  receiveWindow: number;
  sendWindow: number;
  /** Pieces of the answer that the peer has no room for yet, and their bytes. */
  readonly unsent: Uint8Array[] = [];
  unsentBytes = 0;
  /** Closes the answer behind the unsent pieces. */
  lastFields: readonly OutgoingField[] | undefined;
  isFinishing = false;
  /** When the peer last did something for this stream, in milliseconds of performance.now(). */
  heardAt = performance.now();
  readonly #sender: Sender;
  readonly #bodies: Bodies;
  readonly #windowBytes: number;
  /** Of the body, what has come and nobody has worked off, as far as it is counted. */
  #keptBytes = 0;
  /** What may come again, and has not been said to the peer. */
  #givenBackBytes = 0;
  /** Nothing more of it is expected, from either side. */
  #isBrokenOff = false;

  constructor(id: number, head: RequestHead, sender: Sender, bodies: Bodies, windowBytes: number) {
    this.id = id;
    this.head = head;
    this.#sender = sender;
    this.#bodies = bodies;
    this.#windowBytes = windowBytes;
    this.receiveWindow = windowBytes;
    this.sendWindow = sender.firstStreamWindow;
  }

  /** Begins the answer. */
  respond(fields: readonly OutgoingField[]): void {
    if (this.closed) return;
    this.isAnswering = true;
    this.#sender.headers(this.id, fields, false);
  }

  /** Answers by headers alone. */
  respondOnly(fields: readonly OutgoingField[]): void {
    if (this.closed) return;
    this.#sender.headers(this.id, fields, true);
    this.#close();
  }

  /** Sends a piece of the answer's body; false if it has to wait for the peer, until `onDrain`. */
  write(piece: Uint8Array): boolean {
    return this.closed || this.#sender.body(this, piece);
  }

  /** Ends the answer, behind all that was written. */
  finish(trailers?: readonly OutgoingField[]): void {
    if (this.closed || this.isFinishing) return;
    this.isFinishing = true;
    this.lastFields = trailers;
    if (this.unsent.length === 0) this.end();
  }

  /** Breaks the answer off. */
  reset(code: ErrorCode): void {
    if (this.closed) return;
    this.#sender.reset(this.id, code);
    this.#close(true);
  }

  /**
   * Tells a client that was answered and still sends to stop; what it has been told stands (RFC 9113, 8.1).
   */
  stopReading(): void {
    if (this.ended || !this.closed || this.#isBrokenOff) return;
    this.#isBrokenOff = true;
    this.#sender.reset(this.id, errorCodes.noError);
    this.#sender.onClosed(this, true);
  }

  /** Says that so many bytes of the body have been worked off, and that as many may come. */
  consumed(bytes: number): void {
    const kept = Math.min(bytes, this.#keptBytes);
    this.#keptBytes -= kept;
    this.#bodies.keptBytes -= kept;
    this.giveBack(bytes);
  }

  /** Lets so many bytes more come. */
  giveBack(bytes: number): void {
    this.#givenBackBytes += bytes;
    const isMuch = this.#givenBackBytes * 2 >= this.#windowBytes;
    // A window that runs out must not wait for the rest of a piece that is too small.
    const isNeeded = this.receiveWindow * 2 < this.#windowBytes && this.#givenBackBytes >= GIVEN_BACK_BYTES;
    if (this.closed || this.ended || !(isMuch || isNeeded)) return;
    this.#sender.windowUpdate(this.id, this.#givenBackBytes);
    this.receiveWindow += this.#givenBackBytes;
    this.#givenBackBytes = 0;
  }

  /** Counts bytes of the body that have come. For the connection. */
  take(bytes: number): void {
    this.receivedBytes += bytes;
    if (this.closed) return;
    this.#keptBytes += bytes;
    this.#bodies.keptBytes += bytes;
  }

  /** Of the body, what is counted as kept. For the connection. */
  keptBytes(): number {
    return this.#keptBytes;
  }

  /** Counts the body no more: it is complete, or nobody's. For the connection. */
  letGo(): void {
    this.#bodies.keptBytes -= this.#keptBytes;
    this.#keptBytes = 0;
  }

  /** Sends what closes the answer. For the sender, once nothing is unsent. */
  end(): void {
    if (this.lastFields) this.#sender.headers(this.id, this.lastFields, true);
    else this.#sender.emptyEnd(this.id);
    this.#close();
  }

  /** The peer wants nothing of this any more. For the connection. */
  leave(): void {
    this.#isBrokenOff = true;
    if (this.closed) return;
    this.#stop();
    this.onGone?.();
    this.onDrain?.();
  }

  #close(isBrokenOff = false): void {
    this.#isBrokenOff = isBrokenOff;
    this.#stop();
    this.#sender.onClosed(this, isBrokenOff);
  }

  // Keeps nothing of the request and of the answer.
  #stop(): void {
    this.closed = true;
    this.letGo();
    this.unsent.length = 0;
    this.#sender.forget(this);
  }
}
