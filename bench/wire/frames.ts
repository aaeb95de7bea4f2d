/** The parts of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that a load generator needs to write and to read. */
import { FRAME_HEAD_BYTES, flags, frameTypes, PREFACE, settingIds } from "#libs/http2";
import { makeStencil, type Stencil } from "./stencil.ts";

const GRPC_HEAD_BYTES = 5;
// Entries of HPACK's static table.
const METHOD_POST = 0x83;
const SCHEME_HTTP = 0x86;
const NAME_AUTHORITY = 1;
const NAME_PATH = 4;

/** The head of a frame. */
export function frameHead(length: number, type: number, flag: number, streamId: number): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flag, 4);
  head.writeUInt32BE(streamId, 5);
  return head;
}

/**
 * What a client says first: no table of headers, so that each block of headers can be read by itself, and
 * windows so wide that answers are never held up.
 */
export function greeting(windowBytes: number): Buffer {
  const settings = Buffer.alloc(12);
  settings.writeUInt16BE(settingIds.headerTableSize, 0);
  settings.writeUInt32BE(0, 2);
  settings.writeUInt16BE(settingIds.initialWindowSize, 6);
  settings.writeUInt32BE(windowBytes, 8);
  return Buffer.concat([
    Buffer.from(PREFACE, "latin1"),
    frameHead(settings.length, frameTypes.settings, 0, 0),
    settings,
    windowUpdate(windowBytes),
  ]);
}

/** Grants the peer so many more bytes on the connection. */
export function windowUpdate(bytes: number): Buffer {
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(bytes);
  return Buffer.concat([frameHead(4, frameTypes.windowUpdate, 0, 0), increment]);
}

/** A unary gRPC call: `path` is `/package.Service/Method`. */
export function grpcStencil(call: {
  readonly authority: string;
  readonly path: string;
  readonly message: Uint8Array;
  readonly blanks: readonly string[];
  /** Another spelling of the content type, and further headers. */
  readonly headers?: Readonly<Record<string, string>>;
}): Stencil {
  const headers = Buffer.concat([
    Buffer.from([METHOD_POST, SCHEME_HTTP]),
    literal(NAME_PATH, call.path),
    literal(NAME_AUTHORITY, call.authority),
    named("content-type", "application/grpc"),
    named("te", "trailers"),
    ...Object.entries(call.headers ?? {}).map(([name, value]) => named(name, value)),
  ]);
  const head = Buffer.alloc(GRPC_HEAD_BYTES);
  head.writeUInt32BE(call.message.length, 1);
  const body = Buffer.concat([head, call.message]);
  const bytes = Buffer.concat([
    frameHead(headers.length, frameTypes.headers, flags.endHeaders, 0),
    headers,
    frameHead(body.length, frameTypes.data, flags.endStream, 0),
    body,
  ]);
  const streamIdPlaces = [5, FRAME_HEAD_BYTES + headers.length + 5];
  return makeStencil(bytes, call.blanks, streamIdPlaces);
}

// A header field without indexing: its name from the static table, or in full.
function literal(nameIndex: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([nameIndex]), text(value)]);
}

function named(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

// Lengths from 127 on take more bytes; nothing here is so long.
function text(value: string): Buffer {
  if (value.length >= 127) throw new Error(`a header of ${value.length} bytes: ${value}`);
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
}

// Names may come in HPACK's Huffman code; these are the letters of the one that is looked for.
const codes: Readonly<Record<string, string>> = {
  g: "100110",
  r: "101100",
  p: "101011",
  c: "00100",
  "-": "010110",
  s: "01000",
  t: "01001",
  a: "00011",
  u: "101101",
};
const GRPC_STATUS = "grpc-status";
const GRPC_STATUS_RAW = Buffer.from(GRPC_STATUS, "latin1");
const GRPC_STATUS_CODED = huffman(GRPC_STATUS);

function huffman(value: string): Buffer {
  const bits = value
    .split("")
    .map((letter) => codes[letter])
    .join("");
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return Buffer.from(padded.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}

/**
 * Reads the number after `grpc-status` from a block of headers; undefined when there is none. Digits come as
 * they are: of one or two of them the Huffman code is no shorter, and then nobody uses it.
 */
export function grpcStatusOf(block: Buffer): number | undefined {
  for (const name of [GRPC_STATUS_CODED, GRPC_STATUS_RAW]) {
    const at = block.indexOf(name);
    if (at < 0) continue;
    const valueAt = at + name.length;
    const length = block.readUInt8(valueAt);
    const digits = block.toString("latin1", valueAt + 1, valueAt + 1 + length);
    if (/^\d{1,2}$/.test(digits)) return Number(digits);
  }
  return undefined;
}
