import { createServer, type Server } from "node:net";
import { Problem } from "./problem.ts";

/**
 * Below the ports that Linux (32768) and macOS (49152) give to outgoing connections, which would take a free
 * one away.
 */
const FREE_PORTS_FROM = 21_000;
const FREE_PORTS_TO = 32_000;

/**
 * Stacks that start side by side must not choose a port that another has chosen and not yet taken, nor try
 * one while another takes it. So a process chooses from blocks of its own: a block belongs to whoever listens
 * on its first port, which the kernel gives back when that process ends, however it ends.
 */
const BLOCK_PORTS = 44;
const BLOCKS = Math.floor((FREE_PORTS_TO - FREE_PORTS_FROM) / BLOCK_PORTS);

/** Where this process looks for its first block: its own place, so that few look at the same. */
let nextBlock = process.pid % BLOCKS;
/** What is left of the blocks of this process; a port is handed out once. */
const left: number[] = [];

/** Says whether a server can listen on this port of the loopback address now. */
export async function isPortFree(port: number): Promise<boolean> {
  const server = await listenAlone(port);
  if (!server) return false;
  await new Promise((closed) => server.close(closed));
  return true;
}

/** Finds so many ports on which nobody listens, each handed out once, and to this process alone. */
export async function findFreePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const port = left.shift();
    if (port === undefined) await takeBlock();
    else if (await isPortFree(port)) found.push(port);
  }
  return found;
}

/** Makes the next block that belongs to nobody one of this process, until it ends. */
async function takeBlock(): Promise<void> {
  for (let tries = 0; tries < BLOCKS; tries++) {
    const first = FREE_PORTS_FROM + nextBlock * BLOCK_PORTS;
    nextBlock = (nextBlock + 1) % BLOCKS;
    if (!(await listenAlone(first))) continue;
    for (let port = first + 1; port < first + BLOCK_PORTS; port++) left.push(port);
    return;
  }
  throw new Problem(
    `There are no free ports between ${FREE_PORTS_FROM} and ${FREE_PORTS_TO} on 127.0.0.1.`,
    "See with `ss -ltn` (Linux) or `lsof -iTCP -sTCP:LISTEN` (macOS) who takes them.",
  );
}

/** A server on this port, which keeps no process alive; undefined where someone else listens. */
async function listenAlone(port: number): Promise<Server | undefined> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.unref();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => resolve(server));
  });
}
