import { once } from "node:events";
import {
  createServer,
  type Http2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import type { Logger } from "pino";
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
  readonly callerOf?: (header: (name: string) => string | undefined) => Caller;
  /** Told of every answered call: its RPC, its reason or OK, and how long it took. */
  readonly observe?: (rpc: string, outcome: string, tookMs: number) => void;
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
/**
 * Calls of one connection at once: the gateway has one connection a worker, and several hundred calls wait in
 * batches.
 */
const MAX_CONCURRENT_STREAMS = 4_096;
/** The window of one connection, so that many small requests are not held up by flow control. */
const CONNECTION_WINDOW_BYTES = 16 * 1_048_576;
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
  const health = { serviceNames: services.map(({ desc }) => desc.typeName), isServing: () => serving };
  const server = createServer({
    settings: { maxConcurrentStreams: MAX_CONCURRENT_STREAMS, initialWindowSize: READ_MAX_BYTES },
  });
  const connections = trackConnections(server, log);
  server.on("stream", routeStreams(options, pipeline, health));
  const [host, port] = splitAddress(options.address);
  server.listen(port, host);
  await once(server, "listening");

  async function drain({ noticeMs, drainTimeoutMs }: StopOptions): Promise<void> {
    serving = false;
    await pause(noticeMs);
    server.close();
    connections.close();
    const until = performance.now() + drainTimeoutMs;
    while ((pipeline.underWay() > 0 || connections.open() > 0) && performance.now() < until) {
      await pause(DRAIN_POLL_MS);
    }
    const cut = pipeline.underWay();
    if (cut > 0) log.warn({ calls: cut }, "calls were cut at the end of the drain time");
    connections.destroy();
  }

  return {
    address: addressOf(server.address()),
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

type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  raw: string[],
) => void;

// Unary gRPC, which is what the gateway sends for JSON too, goes the short way; everything else by
// connect-node.
function routeStreams(options: RpcServerOptions, pipeline: Pipeline, health: HealthState): StreamListener {
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
  return (stream, headers, _flags, raw) => {
    const method = isGrpc(headers) ? unaryMethods.get(headers[":path"] ?? "") : undefined;
    if (method) {
      serveGrpcUnary(stream, headers, method, pipeline, READ_MAX_BYTES);
      return;
    }
    stream.on("error", () => {});
    adapter(new Http2ServerRequest(stream, headers, {}, raw), new Http2ServerResponse(stream));
  };
}

type Connections = {
  open(): number;
  /** Sends GOAWAY: calls under way are answered, new ones go elsewhere. */
  close(): void;
  destroy(): void;
};

function trackConnections(server: Http2Server, log: Logger): Connections {
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("session", (session) => {
    sessions.add(session);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.once("close", () => sessions.delete(session));
    session.on("error", (error) => log.debug({ err: error }, "a connection broke"));
  });
  return {
    open: () => sessions.size,
    close: () => {
      for (const session of sessions) session.close();
    },
    destroy: () => {
      for (const session of sessions) session.destroy();
      // A session that was closed first leaves it to the peer to close the connection, and not every peer
      // does.
      for (const socket of sockets) socket.destroy();
    },
  };
}

function splitAddress(address: string): [host: string, port: number] {
  const at = address.lastIndexOf(":");
  const port = Number(address.slice(at + 1));
  if (at < 1 || !Number.isInteger(port)) throw new Error(`${address} is not an address: write host:port`);
  return [address.slice(0, at), port];
}

function addressOf(address: { address: string; port: number } | string | null): string {
  if (address === null || typeof address === "string") throw new Error("the server has no address");
  return `${address.address}:${address.port}`;
}
