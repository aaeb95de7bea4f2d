import { lookup } from "node:dns/promises";
import { connect as connectSocket, isIP, type Socket } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createContextKey,
  type Transport,
} from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { RetryBudget } from "./budget.ts";

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
/**
 * How long an instance whose connection failed comes last, and then is tried by one call again. Restarts take
 * seconds, and each try at one that is away costs a repetition.
 */
const LEFT_ALONE_MS = 1_000;
const READ_MAX_BYTES = 4 * 1_048_576;

/**
 * Makes a client of another service over Connect and HTTP/2. Calls go to its instances in turn; one that
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
  /** Instances that have failed and not answered since, with the time until which they come last. */
  const failing = new Map<string, number>();

  // In turns, but for those that are left alone.
  function inOrder(candidates: readonly string[]): string[] {
    turn = (turn + 1) % candidates.length;
    const now = performance.now();
    const isLeftAlone = (url: string) => (failing.get(url) ?? 0) > now;
    const turned = [...candidates.slice(turn), ...candidates.slice(0, turn)];
    const order = turned.filter((url) => !isLeftAlone(url)).concat(turned.filter(isLeftAlone));
    const [first] = order;
    // Whoever tries one again does so for all.
    if (first !== undefined && failing.has(first)) failing.set(first, now + LEFT_ALONE_MS);
    return order;
  }

  async function currentInstances(): Promise<readonly string[]> {
    if (performance.now() - resolvedAt < ADDRESSES_KEPT_MS && instances.length > 0) return instances;
    const resolved = await Promise.allSettled(urls.map(addressesOf));
    const found = resolved.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    // When no name can be resolved just now, the addresses that were known are as good as any.
    if (found.length > 0) instances = found;
    if (instances.length === 0)
      throw new ConnectError(`no address is known of ${urls.join(", ")}`, Code.Unavailable);
    resolvedAt = performance.now();
    return instances;
  }

  function connectionTo(url: string): Connection {
    let connection = connections.get(url);
    if (!connection) {
      connection = createConnection(url, timeoutMs);
      connections.set(url, connection);
    }
    return connection;
  }

  return {
    async unary(...call) {
      const [, signal, , , , contextValues] = call;
      let lastError: ConnectError | undefined;
      let mayBeAtWork = false;
      for (const [tried, url] of inOrder(await currentInstances()).entries()) {
        if (lastError && mayBeAtWork && budget?.spend() === false) throw lastError;
        contextValues?.set(instancesTried, tried + 1);
        const connection = connectionTo(url);
        try {
          const answer = await connection.transport.unary(...call);
          failing.delete(url);
          return answer;
        } catch (error) {
          if (!isConnectionFailure(error, signal)) throw error;
          failing.set(url, performance.now() + LEFT_ALONE_MS);
          lastError = ConnectError.from(error);
          mayBeAtWork = connection.wasHeard() && !wasNotTaken(lastError);
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
  readonly transport: Transport;
  /** Whether the instance has said anything on the newest connection: it begins with its settings. */
  wasHeard(): boolean;
};

function createConnection(url: string, timeoutMs: number): Connection {
  const { hostname, port } = new URL(url);
  let socket: Socket | undefined;
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "2",
    defaultTimeoutMs: timeoutMs,
    readMaxBytes: READ_MAX_BYTES,
    pingIntervalMs: PING_INTERVAL_MS,
    pingTimeoutMs: PING_TIMEOUT_MS,
    nodeOptions: {
      createConnection: () => {
        socket = connectSocket({ host: withoutBrackets(hostname), port: Number(port || 80), noDelay: true });
        return socket;
      },
    },
  });
  return { transport, wasHeard: () => socket !== undefined && socket.bytesRead > 0 };
}

// What a connection that could not be made, or broke, is told as; a cancellation of the caller's is not among
// them.
const broken = new Set([Code.Unavailable, Code.Aborted, Code.Canceled]);

// An answer of the peer has details, always; a connection that failed has none.
function isConnectionFailure(error: unknown, signal: AbortSignal | undefined): boolean {
  const failure = ConnectError.from(error);
  if (wasNotTaken(failure)) return true;
  return broken.has(failure.code) && failure.details.length === 0 && !signal?.aborted;
}

// An instance that is about to stop refuses what has come after its farewell (RFC 9113, section 8.7).
function wasNotTaken(error: ConnectError): boolean {
  return error.rawMessage.includes("REFUSED_STREAM");
}

async function addressesOf(url: string): Promise<string[]> {
  const { protocol, hostname, port } = new URL(url);
  if (isIP(withoutBrackets(hostname)) !== 0) return [url];
  const addresses = await lookup(hostname, { all: true, family: 4 });
  return addresses.map(({ address }) => `${protocol}//${address}:${port}`);
}

// An IPv6 address stands in brackets in a URL.
function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
