import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import {
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromHttpStatus, findTrailerError } from "@connectrpc/connect/protocol-grpc";
import type { Http2SessionManager } from "@connectrpc/connect-node";
import { FRAME_HEAD_BYTES, frameOf } from "./grpc-frame.ts";

/** One unary call, and what it may take. */
export type UnaryCall<Input extends DescMessage, Output extends DescMessage> = {
  readonly method: DescMethodUnary<Input, Output>;
  readonly message: MessageShape<Input>;
  readonly headers: Headers | undefined;
  /** The longest wait for the answer, with the making of a connection. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly readMaxBytes: number;
};

export type UnaryReply<Output extends DescMessage> = {
  readonly message: MessageShape<Output>;
  readonly header: IncomingHttpHeaders;
  readonly trailer: IncomingHttpHeaders;
};

/** A call had no answer: its connection could not be made, or ended before there was one. */
export class ConnectionFailure extends Error {
  /** Whether the peer has said that it does not take the call (RFC 9113, section 8.7). */
  readonly wasRefused: boolean;

  constructor(
    message: string,
    { cause, wasRefused = false }: { cause?: unknown; wasRefused?: boolean } = {},
  ) {
    super(message, { cause });
    this.wasRefused = wasRefused;
  }
}

type CallError = ConnectError | ConnectionFailure;

/**
 * Makes one unary gRPC call on the connection that `sessions` keeps
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Rejects with the peer's error and its
 * details; with a ConnectionFailure if there was no answer; with DEADLINE_EXCEEDED or CANCELLED if nobody
 * waits for it any more.
 */
export async function callUnary<Input extends DescMessage, Output extends DescMessage>(
  sessions: Http2SessionManager,
  call: UnaryCall<Input, Output>,
): Promise<UnaryReply<Output>> {
  const frame = frameOf(toBinary(call.method.input, call.message));
  return readReply(call.method, await ask(sessions, call, frame));
}

function ask<Input extends DescMessage, Output extends DescMessage>(
  sessions: Http2SessionManager,
  call: UnaryCall<Input, Output>,
  frame: Buffer,
): Promise<Reply> {
  const { method, timeoutMs, signal } = call;
  return new Promise((resolve, reject) => {
    let stream: ClientHttp2Stream | undefined;
    let isOver = false;
    const timer = setTimeout(() => {
      giveUp(new ConnectError("the deadline has passed", Code.DeadlineExceeded));
    }, timeoutMs);
    const onAbort = () => giveUp(new ConnectError("the caller has gone", Code.Canceled));
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    else sessions.request("POST", pathOf(method), fieldsOf(call), {}).then(begin, onBroken);

    function begin(opened: ClientHttp2Stream): void {
      stream = opened;
      opened.on("error", onBroken);
      if (isOver) {
        opened.close(constants.NGHTTP2_CANCEL);
        return;
      }
      collectReply(opened, call.readMaxBytes, {
        onBytes: () => sessions.notifyResponseByteRead(opened),
        onReply: (reply) => {
          end();
          resolve(reply);
        },
        onFailure: fail,
      });
      opened.end(frame);
    }

    function end(): void {
      isOver = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }

    // What is told after the first word is not heard any more.
    function fail(error: CallError): void {
      end();
      reject(error);
    }

    function onBroken(reason: unknown): void {
      fail(failureOf(reason, stream?.rstCode));
    }

    function giveUp(error: CallError): void {
      fail(error);
      stream?.close(constants.NGHTTP2_CANCEL);
    }
  });
}

function pathOf(method: DescMethodUnary): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function fieldsOf({ headers, timeoutMs }: { headers: Headers | undefined; timeoutMs: number }) {
  return {
    ...(headers && Object.fromEntries(headers)),
    "content-type": "application/grpc+proto",
    te: "trailers",
    "grpc-timeout": `${timeoutMs}m`,
  };
}

/** An answer as it came: `trailer` is that of its end, or its only fields. */
type Reply = {
  readonly header: IncomingHttpHeaders;
  readonly trailer: IncomingHttpHeaders;
  readonly body: Buffer;
};

type Listeners = {
  readonly onBytes: () => void;
  readonly onReply: (reply: Reply) => void;
  readonly onFailure: (error: CallError) => void;
};

function collectReply(stream: ClientHttp2Stream, readMaxBytes: number, listeners: Listeners): void {
  const { onBytes, onReply, onFailure } = listeners;
  const pieces: Buffer[] = [];
  let received = 0;
  let header: IncomingHttpHeaders | undefined;
  let trailer: IncomingHttpHeaders | undefined;
  stream.on("response", (fields) => {
    header = fields;
    onBytes();
  });
  stream.on("trailers", (fields: IncomingHttpHeaders) => {
    trailer = fields;
  });
  stream.on("data", (piece: Buffer) => {
    onBytes();
    received += piece.length;
    pieces.push(piece);
    if (received <= readMaxBytes + FRAME_HEAD_BYTES) return;
    // Not ResourceExhausted, by which a service says that it has done nothing: this one has done it.
    onFailure(new ConnectError(`the answer is larger than ${readMaxBytes} bytes`, Code.Internal));
    stream.close(constants.NGHTTP2_CANCEL);
  });
  const tell = (fields: IncomingHttpHeaders) => {
    onReply({ header: fields, trailer: trailer ?? fields, body: Buffer.concat(pieces) });
  };
  // An answer that breaks off has an end too, but no status.
  stream.on("end", () => {
    if (header && (trailer ?? header)["grpc-status"] !== undefined) tell(header);
  });
  stream.on("close", () => {
    if (header && stream.rstCode === constants.NGHTTP2_NO_ERROR) tell(header);
    else onFailure(resetOf(stream.rstCode));
  });
}

function readReply<Input extends DescMessage, Output extends DescMessage>(
  method: DescMethodUnary<Input, Output>,
  { header, trailer, body }: Reply,
): UnaryReply<Output> {
  const status = trailer["grpc-status"];
  if (status === undefined) throw noGrpc(header);
  if (status !== "0") throw findTrailerError(webHeaders(trailer)) ?? noGrpc(header);
  if (body.length < FRAME_HEAD_BYTES || body.length !== FRAME_HEAD_BYTES + body.readUInt32BE(1)) {
    throw new ConnectError("the answer is not one gRPC message", Code.Internal);
  }
  // Compression was not offered.
  if (body.readUInt8(0) !== 0) throw new ConnectError("the answer is compressed", Code.Internal);
  try {
    return { header, trailer, message: fromBinary(method.output, body.subarray(FRAME_HEAD_BYTES)) };
  } catch (error) {
    throw new ConnectError("the answer can't be read", Code.Internal, undefined, undefined, error);
  }
}

// Somebody on the way who speaks HTTP only; whether the peer has the call nobody knows.
function noGrpc(header: IncomingHttpHeaders): CallError {
  const status = Number(header[":status"]);
  const message = `an answer without grpc-status: HTTP ${status}`;
  const code = codeFromHttpStatus(status);
  return code === Code.Unavailable ? new ConnectionFailure(message) : new ConnectError(message, code);
}

/** Fields of an answer in the form in which Connect's clients show them. */
export function webHeaders(fields: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  return headers;
}

// What was reported of a connection or a stream. It is the peer's word only if it has reset the stream.
function failureOf(reason: unknown, rstCode: number | undefined): CallError {
  const isReset = reason instanceof Error && "code" in reason && reason.code === "ERR_HTTP2_STREAM_ERROR";
  if (isReset && rstCode !== undefined) return resetOf(rstCode);
  return new ConnectionFailure(reason instanceof Error ? reason.message : String(reason), { cause: reason });
}

function resetOf(rstCode: number): CallError {
  const message = `the stream was reset with code ${rstCode} before there was an answer`;
  switch (rstCode) {
    case constants.NGHTTP2_REFUSED_STREAM:
      return new ConnectionFailure(message, { wasRefused: true });
    case constants.NGHTTP2_NO_ERROR:
    case constants.NGHTTP2_CANCEL:
      return new ConnectionFailure(message);
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return new ConnectError(message, Code.ResourceExhausted);
    default:
      return new ConnectError(message, Code.Internal);
  }
}
