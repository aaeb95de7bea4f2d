import type { Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { errorCodes, RepeatedField, type ServerStream } from "#libs/http2";
import type { RpcMethod, RpcService } from "./call.ts";
import { explainRefusal } from "./connect-refusal.ts";
import type { Incoming } from "./open-call.ts";
import type { Pipeline } from "./pipeline.ts";
import { requestOf, writeResponse } from "./universal.ts";

export type ConnectAdapterOptions = {
  readonly services: readonly RpcService[];
  /** Adds services with streams, which have no place in the pipeline: reflection, the watching of health. */
  readonly streaming: (router: ConnectRouter) => void;
  readonly pipeline: Pipeline;
  readonly readMaxBytes: number;
  readonly maxDeadlineMs: number;
  readonly log: Logger;
};

const notFound = [new RepeatedField(":status", "404")];

const jsonOptions = {
  // A misspelt field is an error here; the transcoder of the gateway can't tell.
  ignoreUnknownFields: false,
  alwaysEmitImplicit: true,
  // By default bytes that are no UTF-8 become replacement characters, and would be stored as such.
  textDecoder: new TextDecoder("utf-8", { fatal: true }),
};

/**
 * Serves Connect, gRPC-Web, and gRPC beyond unary binary calls, by connect-node; handlers run in the same
 * pipeline.
 */
export function createConnectAdapter(options: ConnectAdapterOptions): (stream: ServerStream) => void {
  const { log } = options;
  const router = createConnectRouter({
    readMaxBytes: options.readMaxBytes,
    maxTimeoutMs: options.maxDeadlineMs,
    acceptCompression: [compressionGzip, compressionBrotli],
    jsonOptions,
  });
  for (const { methods } of options.services) {
    for (const method of methods) router.rpc(method.desc, implementation(method, options.pipeline));
  }
  options.streaming(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (stream) => {
    const path = stream.head.path.split("?", 1)[0] ?? "";
    const handler = handlers.get(path);
    if (!handler) {
      stream.respondOnly(notFound);
      return;
    }
    Promise.try(() => handler(requestOf(stream)))
      .then((answer) => explainRefusal(answer, handler.method.input))
      .then((answer) => writeResponse(stream, answer))
      .catch((error: unknown) => {
        // The client went away while the answer was written: nobody is left to be told.
        if (stream.closed || ConnectError.from(error).code === Code.Aborted) return;
        log.error({ rpc: path, err: error }, "an answer could not be written");
        stream.reset(errorCodes.internalError);
      });
  };
}

function implementation(method: RpcMethod, pipeline: Pipeline) {
  return async (request: Message, context: HandlerContext): Promise<Message> => {
    const answer = await pipeline.run(method, incomingOf(context), () => request);
    if (!answer.ok) {
      const { message, code, details } = answer.failure;
      const outgoing = details.map(({ desc, value }) => ({ desc, value }));
      throw new ConnectError(message, code, { "x-request-id": answer.requestId }, outgoing);
    }
    context.responseHeader.set("x-request-id", answer.requestId);
    return answer.message;
  };
}

function incomingOf(context: HandlerContext): Incoming {
  return {
    header: (name) => context.requestHeader.get(name) ?? undefined,
    timeoutMs: context.timeoutMs(),
    onGone: (listener) => {
      const { signal } = context;
      const tell = (): void => {
        // Connect-node keeps the deadline too, and may see it pass first: the call tells that itself.
        if (ConnectError.from(signal.reason).code !== Code.DeadlineExceeded) listener();
      };
      signal.addEventListener("abort", tell, { once: true });
    },
  };
}
