/**
 * The server that one writes with connect-node: its own adapter, and one interceptor for each of the checks
 * that `libs/rpc` makes (request id, log, errors, deadline, the contract's rules).
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http2";
import { createValidator } from "@bufbuild/protovalidate";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { answerReservation } from "./trivial.ts";

const READ_MAX_BYTES = 1_048_576;
const MAX_DEADLINE_MS = 30_000;
const MAX_CONCURRENT_STREAMS = 4_096;

/** Serves a trivial handler by connect-node's own adapter. */
export async function serveConnectNode(host: string, port: number, log: Logger): Promise<void> {
  const adapter = connectNodeAdapter({
    routes: (router) =>
      router.service(InventoryService, { createReservation: async (request) => answerReservation(request) }),
    interceptors: [withRequestId, logging(log), withErrors, racingItsDeadline, validating()],
    readMaxBytes: READ_MAX_BYTES,
    maxTimeoutMs: MAX_DEADLINE_MS,
  });
  const server = createServer({ settings: { maxConcurrentStreams: MAX_CONCURRENT_STREAMS } }, adapter);
  server.listen(port, host);
  await once(server, "listening");
}

const withRequestId: Interceptor = (next) => async (request) => {
  const requestId = request.header.get("x-request-id") ?? randomUUID();
  request.header.set("x-request-id", requestId);
  const response = await next(request);
  response.header.set("x-request-id", requestId);
  return response;
};

function logging(log: Logger): Interceptor {
  return (next) => async (request) => {
    const startedAt = performance.now();
    const requestId = request.header.get("x-request-id");
    const rpc = `${request.service.typeName}/${request.method.name}`;
    let outcome = "OK";
    try {
      return await next(request);
    } catch (error) {
      outcome = Code[ConnectError.from(error).code];
      throw error;
    } finally {
      const ms = Math.round((performance.now() - startedAt) * 10) / 10;
      log.info({ rpc, requestId, outcome, ms }, "call");
    }
  };
}

const withErrors: Interceptor = (next) => async (request) => {
  try {
    return await next(request);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    throw new ConnectError("something went wrong here", Code.Internal, undefined, undefined, error);
  }
};

const racingItsDeadline: Interceptor = (next) => async (request) => {
  const { promise, reject } = Promise.withResolvers<never>();
  request.signal.addEventListener("abort", () => reject(ConnectError.from(request.signal.reason)), {
    once: true,
  });
  return await Promise.race([next(request), promise]);
};

function validating(): Interceptor {
  const validator = createValidator();
  return (next) => async (request) => {
    if (!request.stream) refuseInvalid(validator.validate(request.method.input, request.message));
    return await next(request);
  };
}

function refuseInvalid(result: { readonly kind: string; readonly error?: Error | undefined } & object): void {
  if (result.kind === "valid") return;
  throw new ConnectError(result.error?.message ?? "the request is not valid", Code.InvalidArgument);
}
