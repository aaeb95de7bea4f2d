import {
  ConnectionError,
  errorCodes,
  FIRST_MAX_FRAME_BYTES,
  FRAME_HEAD_BYTES,
  flags,
  frameTypes,
  PREFACE,
} from "./frames.ts";

/** Gets each frame; its payload is `bytes` from `from` up to `to`, and may be kept. */
export type TakeFrame = (
  type: number,
  flag: number,
  streamId: number,
  bytes: Buffer,
  from: number,
  to: number,
) => void;

const prefaceBytes = Buffer.from(PREFACE, "latin1");

/** Cuts what a socket brings into frames. */
export class FrameReader {
  readonly #take: TakeFrame;
  #rest: Buffer | undefined;
  #isIntroduced = false;
  #isFirst = true;

  constructor(take: TakeFrame) {
    this.#take = take;
  }

  /** The peer has said that it speaks HTTP/2. */
  isIntroduced(): boolean {
    return this.#isIntroduced;
  }

  /** Takes what came. Throws ConnectionError for what can't be a frame. */
  read(chunk: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    let at = this.#isIntroduced ? 0 : this.#readPreface(bytes);
    if (!this.#isIntroduced) return;
    while (bytes.length - at >= FRAME_HEAD_BYTES) {
      const lengthAndType = bytes.readUInt32BE(at);
      const length = lengthAndType >>> 8;
      const type = lengthAndType & 0xff;
      if (length > FIRST_MAX_FRAME_BYTES) {
        throw new ConnectionError(errorCodes.frameSizeError, `a frame of ${length} bytes`);
      }
      const flag = bytes.readUInt8(at + 4);
      if (this.#isFirst && (type !== frameTypes.settings || (flag & flags.ack) !== 0)) {
        throw new ConnectionError(errorCodes.protocolError, "a connection begins with settings");
      }
      this.#isFirst = false;
      const from = at + FRAME_HEAD_BYTES;
      const to = from + length;
      if (to > bytes.length) break;
      at = to;
      const streamId = bytes.readUInt32BE(from - 4) & 0x7fff_ffff;
      this.#take(type, flag, streamId, bytes, from, to);
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
  }

  #readPreface(bytes: Buffer): number {
    const length = Math.min(bytes.length, prefaceBytes.length);
    if (bytes.compare(prefaceBytes, 0, length, 0, length) !== 0) {
      throw new ConnectionError(errorCodes.protocolError, "the peer does not speak HTTP/2");
    }
    this.#isIntroduced = length === prefaceBytes.length;
    if (!this.#isIntroduced) this.#rest = bytes;
    return length;
  }
}
