import { setTimeout as pause } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import {
  ConnectionError,
  errorCodes,
  joinAddress,
  type ServerStream,
  splitAddress,
  startHttp2Server,
} from "#libs/http2";
import type { Caller, RpcMethod, RpcService } from "./call.ts";
import { createConnectAdapter } from "./connect-adapter.ts";
import { isGrpc, serveGrpcUnary } from "./grpc-unary.ts";
import { addHealth, type HealthState } from "./health.ts";
import { MAX_DEADLINE_MS } from "./open-call.ts";
import { createPipeline, type Pipeline } from "./pipeline.ts";
import { addReflection } from "./reflection.ts";

export type RpcServerOptions = {
  /** `host:port`; port 0 takes a free one. */
  readonly address: string;
  readonly services: readonly RpcService[];
  /**
   * What reflection tells: the whole public contract, so that it may be asked of any service behind the
   * gateway.
   */
  readonly reflected: readonly DescService[];
  readonly log: Logger;
  readonly callerOf?: (headers: { header(name: string): string | undefined }) => Caller;
  /** Told of every answered call: its RPC, its reason or OK, how long it took, and whether it was let in. */
  readonly observe?: (rpc: string, outcome: string, tookMs: number, refused: boolean) => void;
};

export type StopOptions = {
  /**
   * How long NOT_SERVING is told before connections are closed, so that balancers have looked elsewhere by
   * then.
   */
  readonly noticeMs: number;
  /** How long calls under way may take then. */
  readonly drainTimeoutMs: number;
};

/**
 * How a service stops. The gateway looks every half second, and believes the second look: by the end of the
 * notice it has seen that this instance stops, on a busy machine too, where each look takes its time. Whoever
 * comes later may find a connection that ends under a call, and a write is not sent twice.
 */
export const STANDARD_STOP: StopOptions = { noticeMs: 3_000, drainTimeoutMs: 20_000 };

export type RpcServer = {
  /** `host:port` as it is listened on. */
  readonly address: string;
  /** What health checks are told. */
  setServing(serving: boolean): void;
  /** Calls under way. */
  underWay(): number;
  /**
   * Tells NOT_SERVING, waits, closes the connections when their calls are answered. A second call waits for
   * the first.
   */
  stop(options: StopOptions): Promise<void>;
};

/** Larger messages are refused before they are read to the end. */
const READ_MAX_BYTES = 1_048_576;
/** So much of a request may be sent before any of it is read: all of a message, with its head. */
const STREAM_WINDOW_BYTES = READ_MAX_BYTES + 65_536;
/**
 * A notice is waited for in so many parts: a process or a machine that stood still for longer than all of it
 * has only lost one of them, and the balancers get the rest to look again.
 */
const NOTICE_PARTS = 6;
/** How often a stopping server looks whether its calls are answered. */
const DRAIN_POLL_MS = 20;

/** Until there is an identity service every call is of the tenant `demo`. */
function demoCaller(): Caller {
  return { tenant: "demo", subject: "api" };
}

/** Serves gRPC, gRPC-Web and Connect over cleartext HTTP/2, with health and reflection. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { log, services } = options;
  let serving = true;
  let stopped: Promise<void> | undefined;
  const pipeline = createPipeline({
    log,
    callerOf: options.callerOf ?? demoCaller,
    ...(options.observe && { observe: options.observe }),
  });
  const left = new AbortController();
  const health = {
    serviceNames: services.map(({ desc }) => desc.typeName),
    isServing: () => serving,
    left: left.signal,
  };
  const [host, port] = splitAddress(options.address);
  const server = await startHttp2Server({
    host,
    port,
    onRequest: routeStreams(options, pipeline, health),
    streamWindowBytes: STREAM_WINDOW_BYTES,
    onBroken: (error) => logBroken(log, error),
  });

  async function drain({ noticeMs, drainTimeoutMs }: StopOptions): Promise<void> {
    serving = false;
    for (let part = 0; part < NOTICE_PARTS; part += 1) await pause(noticeMs / NOTICE_PARTS);
    await server.leave();
    left.abort();
    const until = performance.now() + drainTimeoutMs;
    while ((pipeline.underWay() > 0 || server.open() > 0) && performance.now() < until) {
      await pause(DRAIN_POLL_MS);
    }
    const cut = pipeline.underWay();
    if (cut > 0) log.warn({ calls: cut }, "calls were cut at the end of the drain time");
    server.destroy();
  }

  return {
    address: joinAddress(server.host, server.port),
    setServing: (value) => {
      serving = value;
    },
    underWay: pipeline.underWay,
    stop: (stopOptions) => {
      stopped ??= drain(stopOptions);
      return stopped;
    },
  };
}

// Unary gRPC, which is what the gateway sends for JSON too, goes the short way; everything else by
// connect-node.
function routeStreams(options: RpcServerOptions, pipeline: Pipeline, health: HealthState) {
  const { services, log } = options;
  const unaryMethods = new Map<string, RpcMethod>();
  for (const { methods } of services) {
    for (const method of methods) unaryMethods.set(method.path, method);
  }
  const adapter = createConnectAdapter({
    services,
    streaming: (router) => {
      addHealth(router, health);
      addReflection(router, options.reflected);
    },
    pipeline,
    readMaxBytes: READ_MAX_BYTES,
    maxDeadlineMs: MAX_DEADLINE_MS,
    log,
  });
  return (stream: ServerStream) => {
    const method = isGrpc(stream) ? unaryMethods.get(stream.head.path) : undefined;
    if (method) serveGrpcUnary(stream, method, pipeline, READ_MAX_BYTES, log);
    else adapter(stream);
  };
}

// What peers do wrong, or hang up in the middle of, is theirs; a defect is ours.
function logBroken(log: Logger, error: Error): void {
  if (error instanceof ConnectionError && error.code === errorCodes.internalError) {
    log.error({ err: error }, "a connection was ended by a defect");
  } else {
    log.debug({ err: error }, "a connection broke");
  }
}
