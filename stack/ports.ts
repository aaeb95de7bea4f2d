import { createServer } from "node:net";
import { Problem } from "./problem.ts";

/**
 * Below the ports that Linux (32768) and macOS (49152) give to outgoing connections, which would take a free
 * one away.
 */
const FREE_PORTS_FROM = 21_000;
const FREE_PORTS_TO = 32_000;
/** So many ports in a row that are all taken mean that something else is wrong. */
const FREE_PORT_TRIES = 500;

/**
 * Each process begins at a block of its own, so that stacks which start side by side do not choose a port
 * that another has chosen and not yet taken. Processes that start together have numbers that lie close
 * together.
 */
const BLOCK_PORTS = 44;
const BLOCKS = Math.floor((FREE_PORTS_TO - FREE_PORTS_FROM) / BLOCK_PORTS);
let next = FREE_PORTS_FROM + (process.pid % BLOCKS) * BLOCK_PORTS;

/** Handed out by this process already, though perhaps not yet listened on. */
const handedOut = new Set<number>();

/** Says whether a server can listen on this port of the loopback address now. */
export async function isPortFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.unref();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Finds so many ports on which nobody listens, each handed out once by this process. */
export async function findFreePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let tries = 0; found.length < count; tries++) {
    if (tries > FREE_PORT_TRIES + count) {
      throw new Problem(
        `There are no free ports between ${FREE_PORTS_FROM} and ${FREE_PORTS_TO} on 127.0.0.1.`,
        "See with `ss -ltn` (Linux) or `lsof -iTCP -sTCP:LISTEN` (macOS) who takes them.",
      );
    }
    const port = next;
    next = next + 1 < FREE_PORTS_TO ? next + 1 : FREE_PORTS_FROM;
    if (handedOut.has(port) || !(await isPortFree(port))) continue;
    handedOut.add(port);
    found.push(port);
  }
  return found;
}
