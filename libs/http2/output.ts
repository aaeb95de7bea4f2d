import type { Socket } from "node:net";

/** Some eighty answers; each connection has one. */
const SLAB_BYTES = 16_384;

/**
 * Gathers what is written in one turn of the event loop, so that it leaves in one piece: a write to a socket
 * costs as much as ten answers. Write into `bytes` from where `reserve` says, then `commit` the end.
 */
export class Output {
  bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly #socket: Socket;
  #from = 0;
  #to = 0;
  #scheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Makes room for so many bytes and says where it begins. */
  reserve(length: number): number {
    if (this.#to + length > this.bytes.length) {
      this.flush();
      // What the socket has taken whole is free again, and most of the time it has.
      if (this.#to + length > this.bytes.length) {
        this.bytes = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length));
        this.#from = 0;
        this.#to = 0;
      }
    }
    return this.#to;
  }

  /** Says how far `bytes` have been written; they leave at the end of this turn. */
  commit(end: number): void {
    this.#to = end;
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(flushOf, this);
  }

  /** Sends what has been written at once. */
  flush(): void {
    this.#scheduled = false;
    if (this.#to === this.#from) return;
    if (this.#socket.writable) this.#socket.write(this.bytes.subarray(this.#from, this.#to));
    const isTaken = this.#socket.writableLength === 0;
    this.#from = isTaken ? 0 : this.#to;
    if (isTaken) this.#to = 0;
  }

  /** Bytes that the peer has not taken. */
  unsent(): number {
    return this.#socket.writableLength;
  }
}

function flushOf(output: Output): void {
  output.flush();
}
