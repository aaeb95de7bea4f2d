import { ConnectionError, errorCodes, flags } from "./frames.ts";
import { HeaderDecoder } from "./header-decoder.ts";
import type { HeaderField } from "./header-field.ts";
import { limits } from "./limits.ts";

/**
 * What a block of headers said, and for which stream; `fields` is undefined if there are too many of them.
 */
export type TakeHeaders = (streamId: number, fields: HeaderField[] | undefined, flag: number) => void;

const PRIORITY_BYTES = 5;

/**
 * Puts the pieces of a block of headers together and decodes it. Every block is decoded, also those for
 * streams that are over, because the table of the connection depends on all of them.
 */
export class HeaderBlocks {
  readonly #decoder = new HeaderDecoder({
    tableBytes: limits.headerTableBytes,
    listBytes: limits.headerListBytes,
  });
  readonly #take: TakeHeaders;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #streamId = 0;
  #flag = 0;

  constructor(take: TakeHeaders) {
    this.#take = take;
  }

  /** Whether a block has begun and is not complete: nothing else may come then. */
  isOpen(): boolean {
    return this.#streamId !== 0;
  }

  /** Takes a HEADERS frame. */
  begin(flag: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    if (streamId === 0) throw new ConnectionError(errorCodes.protocolError, "headers of no stream");
    let start = from;
    let end = to;
    if ((flag & flags.padded) !== 0) {
      if (start === to) throw new ConnectionError(errorCodes.frameSizeError, "no length of the padding");
      end -= bytes.readUInt8(start);
      start += 1;
    }
    if ((flag & flags.priority) !== 0) start += PRIORITY_BYTES;
    if (start > to) throw new ConnectionError(errorCodes.frameSizeError, "half a priority");
    if (start > end) throw new ConnectionError(errorCodes.protocolError, "more padding than headers");
    if ((flag & flags.priority) !== 0) expectOther(streamId, bytes.readUInt32BE(start - PRIORITY_BYTES));
    if ((flag & flags.endHeaders) !== 0) {
      this.#take(streamId, this.#decoder.decode(bytes.subarray(start, end)), flag);
      return;
    }
    this.#streamId = streamId;
    this.#flag = flag;
    this.#add(bytes.subarray(start, end));
  }

  /** Takes a CONTINUATION frame. */
  continue(flag: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    if (streamId === 0 || streamId !== this.#streamId) {
      throw new ConnectionError(errorCodes.protocolError, "a continuation of nothing");
    }
    this.#add(bytes.subarray(from, to));
    if ((flag & flags.endHeaders) === 0) return;
    const block = Buffer.concat(this.#pieces.splice(0));
    this.#bytes = 0;
    this.#streamId = 0;
    this.#take(streamId, this.#decoder.decode(block), this.#flag);
  }

  #add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes <= limits.headerListBytes && this.#pieces.length <= limits.continuations) return;
    throw new ConnectionError(errorCodes.enhanceYourCalm, "headers without end");
  }
}

function expectOther(streamId: number, dependency: number): void {
  if ((dependency & 0x7fff_ffff) !== streamId) return;
  throw new ConnectionError(errorCodes.protocolError, "a stream that depends on itself");
}
