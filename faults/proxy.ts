import { once } from "node:events";
import { connect as connectSocket, createServer, type Socket } from "node:net";

/** What the network between two parts does. */
export type Weather =
  | { readonly kind: "pass" }
  /** Everything arrives, later. */
  | { readonly kind: "latency"; readonly ms: number }
  /**
   * Connections stand and new ones are accepted, and nothing goes through; it all comes when the weather
   * clears.
   */
  | { readonly kind: "blackHole" }
  /** New connections are reset. */
  | { readonly kind: "refuse" };

/** What has happened to the traffic, so that a test can show that its fault did happen. */
export type ProxyCounts = {
  readonly connections: number;
  /** Pieces of data that a black hole has kept back. */
  readonly keptBack: number;
  readonly delayed: number;
  readonly resets: number;
  readonly halfOpened: number;
};

/** A TCP proxy that stands between two parts and can do to them what networks do. */
export type FaultProxy = {
  /** `host:port` to connect to instead of the target's. */
  readonly address: string;
  setWeather(weather: Weather): void;
  /** Resets every connection, on both sides. */
  reset(): void;
  /** The target forgets every connection and its peer is not told, as when a machine loses its power. */
  halfOpen(): void;
  counts(): ProxyCounts;
  stop(): Promise<void>;
};

type Counting = { -readonly [Name in keyof ProxyCounts]: ProxyCounts[Name] };
type Connection = { readonly ends: readonly [Socket, Socket]; readonly flush: () => void };

/** Starts a proxy in front of `target` (`host:port`); it passes everything until it is told otherwise. */
export async function startProxy(target: string): Promise<FaultProxy> {
  let weather: Weather = { kind: "pass" };
  const counts: Counting = { connections: 0, keptBack: 0, delayed: 0, resets: 0, halfOpened: 0 };
  const connections = new Set<Connection>();
  const [host = "", port = ""] = target.split(":");

  const server = createServer({ allowHalfOpen: false }, (near) => {
    counts.connections += 1;
    if (weather.kind === "refuse") {
      counts.resets += 1;
      near.resetAndDestroy();
      return;
    }
    const far = connectSocket({ host, port: Number(port) });
    const connection = joinEnds(near, far, counts, () => weather);
    connections.add(connection);
    for (const end of connection.ends) {
      end.once("close", () => {
        // In a black hole one end goes on without the other.
        if (connection.ends.every(({ destroyed }) => destroyed)) connections.delete(connection);
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const listening = server.address();
  if (listening === null || typeof listening === "string") throw new Error("the proxy has no port");

  return {
    address: `127.0.0.1:${listening.port}`,
    setWeather: (next) => {
      weather = next;
      if (next.kind !== "blackHole") for (const { flush } of connections) flush();
    },
    reset: () => {
      for (const { ends } of connections) {
        counts.resets += 1;
        for (const end of ends) end.resetAndDestroy();
      }
    },
    halfOpen: () => {
      for (const { ends } of connections) {
        const [near, far] = ends;
        counts.halfOpened += 1;
        near.removeAllListeners("data");
        far.removeAllListeners("close");
        // Read and forgotten: its sender sees a connection that stands.
        near.resume();
        far.resetAndDestroy();
      }
    },
    counts: () => ({ ...counts }),
    stop: async () => {
      server.close();
      for (const { ends } of connections) for (const end of ends) end.destroy();
      if (server.listening) await once(server, "close");
    },
  };
}

function joinEnds(near: Socket, far: Socket, counts: Counting, weather: () => Weather): Connection {
  const flushes = [forward(near, far, counts, weather), forward(far, near, counts, weather)];
  for (const [end, other] of [
    [near, far],
    [far, near],
  ] as const) {
    end.setNoDelay(true);
    end.on("error", () => other.destroy());
    // In a black hole nobody hears of the other's end either.
    end.on("close", () => {
      if (weather().kind !== "blackHole") other.end();
    });
  }
  return {
    ends: [near, far],
    flush: () => {
      for (const flush of flushes) flush();
      if (near.destroyed) far.end();
      if (far.destroyed) near.end();
    },
  };
}

/** Passes on what comes from one end as the weather allows; what it returns lets go of what was kept back. */
function forward(from: Socket, to: Socket, counts: Counting, weather: () => Weather): () => void {
  const keptBack: Buffer[] = [];
  const write = (data: Buffer): void => {
    if (to.destroyed || to.write(data)) return;
    from.pause();
    to.once("drain", () => from.resume());
  };
  from.on("data", (data: Buffer) => {
    const now = weather();
    if (now.kind === "blackHole") {
      counts.keptBack += 1;
      keptBack.push(data);
      // What its peer sends beyond this waits in the buffers of the sockets, as it would on a dead line.
      from.pause();
    } else if (now.kind === "latency") {
      counts.delayed += 1;
      setTimeout(() => write(data), now.ms);
    } else write(data);
  });
  return () => {
    if (from.destroyed) return;
    for (const data of keptBack.splice(0)) write(data);
    from.resume();
  };
}
