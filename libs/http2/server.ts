import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { limits } from "./limits.ts";

export type Http2ServerOptions = ConnectionOptions & {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
};

export type Http2Server = {
  readonly host: string;
  readonly port: number;
  /** Connections that are not closed. */
  open(): number;
  /** Takes no new connections and no new requests: what is under way is answered, then connections close. */
  leave(): void;
  /** Ends what is left. */
  destroy(): void;
};

/** A peer that is gone without a word is noticed by the kernel some time after this. */
const KEEP_ALIVE_DELAY_MS = 60_000;

/** Serves HTTP/2 in clear text, with prior knowledge. */
export async function startHttp2Server(options: Http2ServerOptions): Promise<Http2Server> {
  const connections = new Map<Socket, Connection>();
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS },
    (socket) => {
      connections.set(socket, new Connection(socket, options));
      socket.once("close", () => connections.delete(socket));
    },
  );
  server.listen(options.port, options.host);
  await once(server, "listening");
  // A connection that could not be taken, for want of descriptors say, must not end the others.
  server.on("error", options.onBroken);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no address");
  const sweeper = setInterval(() => {
    const now = performance.now();
    for (const connection of connections.values()) connection.sweep(now);
  }, limits.sweepMs);
  sweeper.unref();
  server.once("close", () => clearInterval(sweeper));
  return {
    host: address.address,
    port: address.port,
    open: () => connections.size,
    leave: () => {
      server.close();
      for (const connection of connections.values()) connection.leave();
    },
    destroy: () => {
      server.close();
      for (const connection of connections.values()) connection.destroy();
    },
  };
}
