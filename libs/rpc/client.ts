import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
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

export type RpcClientOptions<Service extends DescService> = {
  /** `http://host:port` of each instance; a name with several addresses stands for all of them. */
  readonly urls: readonly string[];
  readonly service: Service;
  /** The longest wait for an answer; a call's own timeout may be shorter. */
  readonly timeoutMs: number;
};

/**
 * How many instances a call was given to, in its context values: after more than one, an earlier one may
 * still be at work at it.
 */
export const instancesTried = createContextKey(0);

/** How long the addresses behind a name are trusted. */
const ADDRESSES_KEPT_MS = 5_000;
/** A peer that does not answer a ping in this time is gone, though its connection looks alive. */
const PING_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 10_000;
const READ_MAX_BYTES = 4 * 1_048_576;

/**
 * Makes a client of another service over Connect and HTTP/2. Calls go to its instances in turn; one that
 * can't be connected to, or whose connection breaks, is passed over, which is safe for calls that are
 * idempotent, as all between services are.
 */
export function createRpcClient<Service extends DescService>(
  options: RpcClientOptions<Service>,
): Client<Service> {
  return createClient(options.service, createBalancedTransport(options.urls, options.timeoutMs));
}

function createBalancedTransport(urls: readonly string[], defaultTimeoutMs: number): Transport {
  const transports = new Map<string, Transport>();
  let instances: readonly string[] = [];
  let resolvedAt = Number.NEGATIVE_INFINITY;
  let turn = 0;

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

  function transportOf(url: string): Transport {
    let transport = transports.get(url);
    if (!transport) {
      transport = createConnectTransport({
        baseUrl: url,
        httpVersion: "2",
        defaultTimeoutMs,
        readMaxBytes: READ_MAX_BYTES,
        pingIntervalMs: PING_INTERVAL_MS,
        pingTimeoutMs: PING_TIMEOUT_MS,
      });
      transports.set(url, transport);
    }
    return transport;
  }

  return {
    async unary(...call) {
      const candidates = await currentInstances();
      turn = (turn + 1) % candidates.length;
      for (let tried = 1; ; tried += 1) {
        const url = candidates[(turn + tried) % candidates.length];
        if (url === undefined) throw new ConnectError("no instance is known", Code.Unavailable);
        const [, signal, , , , contextValues] = call;
        contextValues?.set(instancesTried, tried);
        try {
          return await transportOf(url).unary(...call);
        } catch (error) {
          if (tried >= candidates.length || !isConnectionFailure(error, signal)) throw error;
        }
      }
    },
    async stream() {
      throw new ConnectError("services call each other by unary calls only", Code.Unimplemented);
    },
  };
}

// What a connection that could not be made, or broke, is told as; a cancellation of the caller's is not among
// them.
const broken = new Set([Code.Unavailable, Code.Aborted, Code.Canceled]);

// An answer of the peer has details, always; a connection that failed has none.
function isConnectionFailure(error: unknown, signal: AbortSignal | undefined): boolean {
  const failure = ConnectError.from(error);
  return broken.has(failure.code) && failure.details.length === 0 && !signal?.aborted;
}

async function addressesOf(url: string): Promise<string[]> {
  const { protocol, hostname, port } = new URL(url);
  // An IPv6 address stands in brackets.
  if (isIP(hostname.replace(/^\[|\]$/g, "")) !== 0) return [url];
  const addresses = await lookup(hostname, { all: true, family: 4 });
  return addresses.map(({ address }) => `${protocol}//${address}:${port}`);
}
