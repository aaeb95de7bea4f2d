import { gunzipSync } from "node:zlib";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import { errorCodes, type OutgoingField, RepeatedField, type ServerStream } from "#libs/http2";
import { DomainError } from "#libs/reasons";
import { StatusSchema } from "#proto/google/rpc/status_pb.ts";
import type { RpcMethod } from "./call.ts";
import { type Failure, packDetail } from "./failure.ts";
import { FRAME_HEAD_BYTES, frameOf } from "./grpc-frame.ts";
import type { Incoming } from "./open-call.ts";
import type { Answer, Pipeline } from "./pipeline.ts";
import { shedFailure } from "./shedding.ts";

/**
 * Whether this request is one that serveGrpcUnary understands: gRPC itself, not gRPC-Web, with binary
 * messages.
 */
export function isGrpc({ head }: ServerStream): boolean {
  const type = head.header("content-type");
  return (type === "application/grpc" || type === "application/grpc+proto") && head.method === "POST";
}

/**
 * Serves one unary gRPC call on its HTTP/2 stream
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A failure is one HEADERS frame, trailers
 * only, so that a proxy sees the status before it passes anything on.
 */
export function serveGrpcUnary(
  stream: ServerStream,
  method: RpcMethod,
  pipeline: Pipeline,
  readMaxBytes: number,
  log: Logger,
): void {
  const incoming = new GrpcIncoming(stream);
  const refusal = pipeline.refuse(method, incoming);
  if (refusal) {
    respond(stream, method, refusal);
    return;
  }
  const pieces: Buffer[] = [];
  let isBegun = false;
  stream.onData = (piece) => {
    if (stream.receivedBytes <= readMaxBytes + FRAME_HEAD_BYTES) pieces.push(piece);
    else begin();
  };
  stream.onEnd = begin;

  function begin(): void {
    if (isBegun) return;
    isBegun = true;
    const [first] = pieces;
    const body = pieces.length === 1 && first ? first : Buffer.concat(pieces);
    const encoding = stream.head.header("grpc-encoding");
    const parse = () => parseFrame(method, body, stream.receivedBytes, encoding, readMaxBytes);
    pipeline
      .run(method, incoming, parse)
      .then((answer) => {
        respond(stream, method, answer);
        stream.stopReading();
      })
      .catch((error: unknown) => {
        // A handler's answer that is no message of the contract is a defect of one call, not of the process.
        log.error({ rpc: method.path, err: error }, "an answer could not be written");
        stream.reset(errorCodes.internalError);
      });
  }
}

class GrpcIncoming implements Incoming {
  readonly timeoutMs: number | undefined;
  readonly #stream: ServerStream;

  constructor(stream: ServerStream) {
    this.#stream = stream;
    this.timeoutMs = parseTimeout(stream.head.header("grpc-timeout"));
  }

  header(name: string): string | undefined {
    return this.#stream.head.header(name);
  }

  onGone(listener: () => void): void {
    this.#stream.onGone = listener;
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
export function parseTimeout(header: string | undefined): number | undefined {
  const match = header === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(header);
  if (!match?.[1] || !match[2]) return undefined;
  return Math.ceil(Number(match[1]) * (timeoutUnitsMs[match[2]] ?? 1));
}

function parseFrame(
  method: RpcMethod,
  body: Buffer,
  size: number,
  encoding: string | undefined,
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

const status200 = new RepeatedField(":status", "200");
const contentType = new RepeatedField("content-type", "application/grpc+proto");
const acceptEncoding = new RepeatedField("grpc-accept-encoding", "gzip");
const okTrailers = [new RepeatedField("grpc-status", "0")];

function respond(stream: ServerStream, method: RpcMethod, answer: Answer): void {
  const requestId = { name: "x-request-id", value: answer.requestId };
  if (!answer.ok) {
    const fields = answer.failure === shedFailure ? shedFields : fieldsOf(answer.failure);
    stream.respondOnly([status200, contentType, acceptEncoding, requestId, ...fields]);
    return;
  }
  const frame = frameOf(toBinary(method.desc.output, answer.message));
  stream.respond([status200, contentType, acceptEncoding, requestId]);
  stream.write(frame);
  stream.finish(okTrailers);
}

// The one failure that there are very many of is packed once.
const shedFields = fieldsOf(shedFailure).map(({ name, value }) => new RepeatedField(name, value));

function fieldsOf(failure: Failure): OutgoingField[] {
  const details = failure.details.map((detail) => create(AnySchema, packDetail(detail)));
  const status = create(StatusSchema, { code: failure.code, message: failure.message, details });
  const packed = Buffer.from(toBinary(StatusSchema, status)).toString("base64").replace(/=+$/, "");
  return [
    { name: "grpc-status", value: String(failure.code) },
    { name: "grpc-message", value: percentEncode(failure.message) },
    { name: "grpc-status-details-bin", value: packed },
  ];
}

// Everything but printable ASCII, and the percent sign itself.
function percentEncode(text: string): string {
  return text.toWellFormed().replaceAll(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}
