/** The numbers of HTTP/2 (RFC 9113) that both halves of a connection speak in. */

export const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
export const FRAME_HEAD_BYTES = 9;
/** What either side may send in one frame until the other says otherwise. */
export const FIRST_MAX_FRAME_BYTES = 16_384;
/** What either side may send of bodies until the other says otherwise. */
export const FIRST_WINDOW_BYTES = 65_535;
/** Windows and numbers of streams have 31 bits. */
export const MAX_31_BITS = 0x7fff_ffff;

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flags = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const settingIds = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCodes = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

export type ErrorCode = (typeof errorCodes)[keyof typeof errorCodes];

/** Ends the connection: the peer has broken the protocol, or a limit of ours. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Writes the head of a frame at `at`. */
export function writeFrameHead(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flag: number,
  streamId: number,
): void {
  target.writeUInt32BE(length * 256 + type, at);
  target.writeUInt8(flag, at + 4);
  target.writeUInt32BE(streamId, at + 5);
}
