import { lookup } from "node:dns/promises";
import { connect as connectSocket, isIP, type Socket } from "node:net";
import { create, type DescMessage, type DescMethodUnary, type DescService } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createContextKey,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";
import { withoutBrackets } from "#libs/http2";
import type { RetryBudget } from "./budget.ts";
import { ConnectionFailure, callUnary, type UnaryReply, webHeaders } from "./grpc-client.ts";

export type RpcClientOptions<Service extends DescService> = {
  /** `http://host:port` of each instance; a name with several addresses stands for all of them. */
  readonly urls: readonly string[];
  readonly service: Service;
  /** The longest wait for an answer; a call's own timeout may be shorter. */
  readonly timeoutMs: number;
  /** Limits how often a call that an instance may have got is given to another one; no limit if absent. */
  readonly budget?: Pick<RetryBudget, "spend">;
};

/**
 * How many instances a call was given to, in its context values: after more than one, an earlier one may
 * still be at work at it.
 */
export const instancesTried = createContextKey(0);

/** How long the addresses behind a name are trusted. */
const ADDRESSES_KEPT_MS = 5_000;
/**
 * While calls are under way and nothing comes, or before a call after a silence, the peer is asked for a sign
 * of life. One that gives none is gone, though its connection looks alive: noticed after 3 s at most, in time
 * to give a call with the default deadline (5 s) to another instance. A busy process has been seen to take 1
 * s.
 */
const PING_INTERVAL_MS = 1_000;
const PING_TIMEOUT_MS = 2_000;
/** A connection that is not made by then will not be: the address is nobody's any more. */
const CONNECT_TIMEOUT_MS = 1_000;
/**
 * How long an instance whose connection failed comes last, and then is tried by one call again. Restarts take
 * seconds, and each try at one that is away costs a repetition.
 */
const LEFT_ALONE_MS = 1_000;
const READ_MAX_BYTES = 4 * 1_048_576;

/**
 * Makes a client of another service over gRPC. Calls go to its instances in turn; one that
 * can't be connected to, or whose connection breaks, is passed over, which is safe for calls that are
 * idempotent, as all between services are. The former costs nobody anything, as does a connection that ends
 * before its peer has said a word; in the latter case the call may have been at work already, so that it is a
 * repetition, and is made within the budget only.
 */
export function createRpcClient<Service extends DescService>(
  options: RpcClientOptions<Service>,
): Client<Service> {
  return createClient(options.service, createBalancedTransport(options));
}

function createBalancedTransport<Service extends DescService>({
  urls,
  timeoutMs,
  budget,
}: RpcClientOptions<Service>): Transport {
  const connections = new Map<string, Connection>();
  let instances: readonly string[] = [];
  let resolvedAt = Number.NEGATIVE_INFINITY;
  let turn = 0;
  /** Instances whose connection has failed and that have not answered since: they come last until then. */
  const failing = new Map<string, number>();

  // In turns, but for those that are left alone.
  function inOrder(candidates: readonly string[]): string[] {
    turn = (turn + 1) % candidates.length;
    const now = performance.now();
    const isLeftAlone = (url: string) => (failing.get(url) ?? 0) > now;
    const turned = [...candidates.slice(turn), ...candidates.slice(0, turn)];
    const order = turned.filter((url) => !isLeftAlone(url)).concat(turned.filter(isLeftAlone));
    const [first] = order;
    // Whoever tries one again does so for all, for as long as it may take.
    if (first !== undefined && failing.has(first)) failing.set(first, now + timeoutMs);
    return order;
  }

  async function currentInstances(): Promise<readonly string[]> {
    if (performance.now() - resolvedAt < ADDRESSES_KEPT_MS && instances.length > 0) return instances;
    const resolved = await Promise.allSettled(urls.map(addressesOf));
    const found = resolved.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    // When no name can be resolved just now, the addresses that were known are as good as any.
    if (found.length > 0) instances = found;
    if (instances.length === 0) {
      const reason: unknown = resolved.find((result) => result.status === "rejected")?.reason;
      const message = `no address is known of ${urls.join(", ")}`;
      throw new ConnectError(message, Code.Unavailable, undefined, undefined, reason);
    }
    resolvedAt = performance.now();
    return instances;
  }

  function connectionTo(url: string): Connection {
    let connection = connections.get(url);
    if (!connection) {
      connection = createConnection(url);
      connections.set(url, connection);
    }
    return connection;
  }

  return {
    async unary(method, signal, callTimeoutMs, header, input, contextValues) {
      const call = {
        method,
        message: create(method.input, input),
        headers: headersFrom(header),
        signal,
        readMaxBytes: READ_MAX_BYTES,
      };
      const until = performance.now() + (callTimeoutMs ?? timeoutMs);
      let lastError: ConnectError | undefined;
      let mayBeAtWork = false;
      for (const [tried, url] of inOrder(await currentInstances()).entries()) {
        const leftMs = Math.ceil(until - performance.now());
        if (leftMs <= 0) throw lastError ?? new ConnectError("no time is left", Code.DeadlineExceeded);
        if (lastError && mayBeAtWork && budget?.spend() === false) throw lastError;
        contextValues?.set(instancesTried, tried + 1);
        const { sessions, wasHeard } = connectionTo(url);
        try {
          const reply = await callUnary(sessions, { ...call, timeoutMs: leftMs });
          failing.delete(url);
          return responseOf(method, reply);
        } catch (error) {
          if (!(error instanceof ConnectionFailure)) {
            if (wasAnswered(error)) failing.delete(url);
            throw error;
          }
          failing.set(url, performance.now() + LEFT_ALONE_MS);
          lastError = new ConnectError(error.message, Code.Unavailable, undefined, undefined, error);
          mayBeAtWork = wasHeard() && !error.wasRefused;
        }
      }
      throw lastError ?? new ConnectError("no instance is known", Code.Unavailable);
    },
    async stream() {
      throw new ConnectError("services call each other by unary calls only", Code.Unimplemented);
    },
  };
}

/** The way to one instance: one HTTP/2 connection at a time. */
type Connection = {
  readonly sessions: Http2SessionManager;
  /** Whether the instance has said anything on the newest connection: it begins with its settings. */
  readonly wasHeard: () => boolean;
};

function createConnection(url: string): Connection {
  const { hostname, port } = new URL(url);
  let socket: Socket | undefined;
  const pings = { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS };
  const sessions = new Http2SessionManager(url, pings, {
    createConnection: () => {
      socket = openSocket(withoutBrackets(hostname), Number(port || 80));
      return socket;
    },
  });
  return { sessions, wasHeard: () => socket !== undefined && socket.bytesRead > 0 };
}

// Nearly nobody reads the fields of an answer, so they are made when somebody does.
function responseOf<Input extends DescMessage, Output extends DescMessage>(
  method: DescMethodUnary<Input, Output>,
  { message, header, trailer }: UnaryReply<Output>,
): UnaryResponse<Input, Output> {
  return {
    stream: false,
    service: method.parent,
    method,
    message,
    get header() {
      return webHeaders(header);
    },
    get trailer() {
      return webHeaders(trailer);
    },
  };
}

function openSocket(host: string, port: number): Socket {
  const socket = connectSocket({ host, port, noDelay: true });
  const giveUp = setTimeout(() => {
    const message = `${host}:${port} has not taken a connection for ${CONNECT_TIMEOUT_MS} ms`;
    socket.destroy(Object.assign(new Error(message), { code: "ETIMEDOUT" }));
  }, CONNECT_TIMEOUT_MS);
  for (const event of ["connect", "close"]) socket.once(event, () => clearTimeout(giveUp));
  return socket;
}

// Their type is one of browsers, which is not known here.
function headersFrom(fields: unknown): Headers | undefined {
  if (fields === undefined || fields instanceof Headers) return fields;
  if (typeof fields !== "object" || fields === null || Symbol.iterator in fields) {
    throw new TypeError("give the fields of a call as Headers or as an object");
  }
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) headers.set(name, String(value));
  return headers;
}

// An answer of the peer has details, always.
function wasAnswered(error: unknown): boolean {
  return error instanceof ConnectError && error.details.length > 0;
}

async function addressesOf(url: string): Promise<string[]> {
  const { protocol, hostname, port } = new URL(url);
  if (isIP(withoutBrackets(hostname)) !== 0) return [url];
  const addresses = await lookup(hostname, { all: true, family: 4 });
  return addresses.map(({ address }) => `${protocol}//${address}:${port}`);
}
