import { once } from "node:events";
import { connect, type OutgoingHttpHeaders, type Settings } from "node:http2";
import { type Duplex, duplexPair } from "node:stream";

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const HEADERS = 1;
const SETTINGS = 4;
const CONTINUATION = 9;
const ACKNOWLEDGED = 0x1;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;
const HEADER_TABLE_SIZE = 1;

/** A connection of nghttp2 that shows what header blocks it makes. */
export type Nghttp2Peer = {
  /** Sends a request and gives the block that it was sent as. */
  encode(headers: OutgoingHttpHeaders): Promise<Buffer>;
  /** Announces sizes of the dynamic table, one after the other, and waits until they have been heard. */
  announceTables(...bytes: number[]): Promise<void>;
  close(): void;
};

/** Opens a client of node:http2 in memory, whose server answers each request with an empty 200. */
export function openNghttp2Peer(): Nghttp2Peer {
  const [near, far] = duplexPair();
  const blocks: Buffer[] = [];
  far.write(frame(SETTINGS, 0, 0));
  answer(far, blocks);
  const session = connect("http://localhost", { createConnection: () => near });
  return {
    encode: async (headers) => {
      const stream = session.request(headers, { endStream: true });
      stream.resume();
      await once(stream, "close");
      const block = blocks.pop();
      if (block === undefined || blocks.length > 0) throw new Error("a request is one block");
      return block;
    },
    announceTables: async (...bytes) => {
      for (const tableBytes of bytes) {
        const payload = Buffer.alloc(6);
        payload.writeUInt16BE(HEADER_TABLE_SIZE, 0);
        payload.writeUInt32BE(tableBytes, 2);
        const heard = new Promise<void>((resolve) => {
          session.on("remoteSettings", (settings: Settings) => {
            if (settings.headerTableSize === tableBytes) resolve();
          });
        });
        far.write(frame(SETTINGS, 0, 0, payload));
        await heard;
      }
    },
    close: () => {
      session.destroy();
      far.destroy();
    },
  };
}

function answer(socket: Duplex, blocks: Buffer[]): void {
  let buffered = Buffer.alloc(0);
  let isOpen = false;
  let fragments: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    if (!isOpen && buffered.length >= PREFACE_BYTES) {
      buffered = buffered.subarray(PREFACE_BYTES);
      isOpen = true;
    }
    while (isOpen && buffered.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + buffered.readUIntBE(0, 3);
      if (buffered.length < end) return;
      const [type, flags, stream] = [buffered.readUInt8(3), buffered.readUInt8(4), buffered.readUInt32BE(5)];
      const payload = buffered.subarray(FRAME_HEAD_BYTES, end);
      buffered = buffered.subarray(end);
      if (type === SETTINGS && flags !== ACKNOWLEDGED) socket.write(frame(SETTINGS, ACKNOWLEDGED, 0));
      if (type !== HEADERS && type !== CONTINUATION) continue;
      fragments.push(type === HEADERS ? fragmentOf(payload, flags) : payload);
      if ((flags & END_HEADERS) === 0) continue;
      blocks.push(Buffer.concat(fragments));
      fragments = [];
      socket.write(frame(HEADERS, END_STREAM | END_HEADERS, stream, Buffer.of(0x88)));
    }
  });
}

function fragmentOf(payload: Buffer, flags: number): Buffer {
  const padding = flags & PADDED ? 1 + payload.readUInt8(0) : 0;
  const start = Math.min(padding, 1) + (flags & PRIORITY ? 5 : 0);
  return payload.subarray(start, payload.length - Math.max(padding - 1, 0));
}

function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
