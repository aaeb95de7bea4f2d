import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { gunzipSync } from "node:zlib";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { DomainError } from "#libs/reasons";
import { StatusSchema } from "#proto/google/rpc/status_pb.ts";
import type { RpcMethod } from "./call.ts";
import { type Failure, packDetail } from "./failure.ts";
import type { Incoming } from "./open-call.ts";
import type { Answer, Pipeline } from "./pipeline.ts";
import { shedFailure } from "./shedding.ts";

/** A frame's head: one byte that says whether the message is compressed, four that say how long it is. */
const FRAME_HEAD_BYTES = 5;

// Node's types do not know this option. No client of gRPC reads a date, and it costs a twentieth of a small
// call.
const withoutDate: object = { sendDate: false };

/**
 * Whether this request is one that serveGrpcUnary understands: gRPC itself, not gRPC-Web, with binary
 * messages.
 */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  const type = headers["content-type"];
  return (type === "application/grpc" || type === "application/grpc+proto") && headers[":method"] === "POST";
}

/**
 * Serves one unary gRPC call on its bare HTTP/2 stream
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A failure is one HEADERS frame, trailers
 * only, so that a proxy sees the status before it passes anything on.
 */
export function serveGrpcUnary(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  method: RpcMethod,
  pipeline: Pipeline,
  readMaxBytes: number,
): void {
  const incoming = new GrpcIncoming(stream, headers);
  // A client that resets its stream is told nothing; without a listener the error would end the process.
  stream.on("error", () => {});
  const refusal = pipeline.refuse(method, incoming);
  if (refusal) {
    whileThere(stream, () => respond(stream, method, refusal));
    readAway(stream, readMaxBytes);
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  let answered = false;
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= readMaxBytes + FRAME_HEAD_BYTES) chunks.push(chunk);
    else begin();
  });
  stream.on("end", begin);

  function begin(): void {
    if (answered) return;
    answered = true;
    const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
    const parse = () => parseFrame(method, body, size, headers["grpc-encoding"], readMaxBytes);
    void pipeline.run(method, incoming, parse).then((answer) => {
      whileThere(stream, () => {
        respond(stream, method, answer);
        // Tells a client that still sends to stop; what it has been told stands.
        if (!answer.ok && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
      });
    });
  }
}

// What is still to come of a request that was refused: its client stops when it sees the answer, or is made
// to.
function readAway(stream: ServerHttp2Stream, readMaxBytes: number): void {
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > readMaxBytes + FRAME_HEAD_BYTES) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}

class GrpcIncoming implements Incoming {
  readonly timeoutMs: number | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
    this.#headers = headers;
    this.timeoutMs = parseTimeout(headers["grpc-timeout"]);
  }

  readonly header = (name: string): string | undefined => {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };

  onGone(listener: () => void): void {
    this.#stream.once("aborted", listener);
  }
}

const timeoutUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Reads a `grpc-timeout` header, such as `250m`, in milliseconds; undefined if there is none that makes
 * sense.
 */
export function parseTimeout(header: string | string[] | undefined): number | undefined {
  const match = typeof header === "string" ? /^(\d{1,8})([HMSmun])$/.exec(header) : null;
  if (!match?.[1] || !match[2]) return undefined;
  return Math.ceil(Number(match[1]) * (timeoutUnitsMs[match[2]] ?? 1));
}

function parseFrame(
  method: RpcMethod,
  body: Buffer,
  size: number,
  encoding: string | string[] | undefined,
  readMaxBytes: number,
): Message {
  if (size > readMaxBytes + FRAME_HEAD_BYTES) throw tooLarge(readMaxBytes);
  if (body.length < FRAME_HEAD_BYTES || body.length !== FRAME_HEAD_BYTES + body.readUInt32BE(1)) {
    throw malformed("the body is not one gRPC message");
  }
  const compressed = body.readUInt8(0) === 1;
  if (compressed && encoding !== "gzip")
    throw malformed(`the encoding ${String(encoding)} is not understood: use gzip`);
  const payload = body.subarray(FRAME_HEAD_BYTES);
  try {
    return fromBinary(
      method.desc.input,
      compressed ? gunzipSync(payload, { maxOutputLength: readMaxBytes }) : payload,
    );
  } catch (error) {
    if (error instanceof RangeError && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw tooLarge(readMaxBytes);
    }
    throw malformed(`the message can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Refuses bytes that are no message of the contract. */
export function malformed(description: string): DomainError {
  return new DomainError("INVALID_FIELD", description, { fields: [{ field: "", description }] });
}

function tooLarge(readMaxBytes: number): DomainError {
  return malformed(`the message is larger than ${readMaxBytes} bytes`);
}

function whileThere(stream: ServerHttp2Stream, act: () => void): void {
  if (stream.destroyed || stream.closed) return;
  try {
    act();
  } catch {
    // The client went away in this very moment: nobody is left to be told.
    stream.destroy();
  }
}

function respond(stream: ServerHttp2Stream, method: RpcMethod, answer: Answer): void {
  if (!answer.ok) {
    stream.respond(
      { ...responseHeaders(answer.requestId), ...failureTrailers(answer.failure) },
      { ...withoutDate, endStream: true },
    );
    return;
  }
  const message = toBinary(method.desc.output, answer.message);
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, FRAME_HEAD_BYTES);
  stream.respond(responseHeaders(answer.requestId), { ...withoutDate, waitForTrailers: true });
  stream.once("wantTrailers", () => {
    stream.sendTrailers({ "grpc-status": "0" });
  });
  stream.end(frame);
}

function responseHeaders(requestId: string): Record<string, string | number> {
  return {
    ":status": 200,
    "content-type": "application/grpc+proto",
    "grpc-accept-encoding": "gzip",
    "x-request-id": requestId,
  };
}

const shedTrailers = packFailure(shedFailure);

function failureTrailers(failure: Failure): Record<string, string> {
  return failure === shedFailure ? shedTrailers : packFailure(failure);
}

function packFailure(failure: Failure): Record<string, string> {
  const details = failure.details.map((detail) => create(AnySchema, packDetail(detail)));
  const status = create(StatusSchema, { code: failure.code, message: failure.message, details });
  return {
    "grpc-status": String(failure.code),
    "grpc-message": percentEncode(failure.message),
    "grpc-status-details-bin": Buffer.from(toBinary(StatusSchema, status))
      .toString("base64")
      .replace(/=+$/, ""),
  };
}

// Everything but printable ASCII, and the percent sign itself.
function percentEncode(text: string): string {
  return text.toWellFormed().replaceAll(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}
