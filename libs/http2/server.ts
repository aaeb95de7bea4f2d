import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
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
  /**
   * Takes no new connections, and asks for no more requests: what is under way is answered, then connections
   * close.
   */
  leave(): Promise<void>;
  /** Ends what is left. */
  destroy(): void;
};

/** A peer that is gone without a word is noticed by the kernel some time after this. */
const KEEP_ALIVE_DELAY_MS = 60_000;

/** Connections that wait to be accepted, as Node has it by default. */
const BACKLOG = 511;

/** Serves HTTP/2 in clear text, with prior knowledge. */
export async function startHttp2Server(options: Http2ServerOptions): Promise<Http2Server> {
  const connections = new Map<Socket, Connection>();
  let accepted = 0;
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS },
    (socket) => {
      accepted += 1;
      connections.set(socket, new Connection(socket, options));
      socket.once("close", () => connections.delete(socket));
    },
  );

  // The kernel may have taken connections for us, which it resets when nobody listens any more: whoever has
  // sent a request on one could not tell that nobody has it. One is accepted in each turn of the event loop.
  async function acceptWaiting(): Promise<void> {
    // The rest of the turn that this one is in the middle of.
    await setImmediate();
    for (let turn = 0; turn < BACKLOG; turn += 1) {
      const before = accepted;
      await setImmediate();
      if (accepted === before) return;
    }
  }

  server.listen({ port: options.port, host: options.host, backlog: BACKLOG });
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
    leave: async () => {
      await acceptWaiting();
      server.close();
      for (const connection of connections.values()) connection.leave();
    },
    destroy: () => {
      server.close();
      for (const connection of connections.values()) connection.destroy();
    },
  };
}
