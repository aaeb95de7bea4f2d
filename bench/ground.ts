/**
 * What every scenario stands on: the whole system with durable data, the servers it is measured against, and
 * what is asked of the databases themselves.
 */
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import type { Client as RpcClient } from "@connectrpc/connect";
import { connect, type Sql } from "#libs/db";
import { createRpcClient } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findFreePorts } from "../stack/ports.ts";
import { ensureOwnedDatabase } from "../stack/postgres.ts";
import type { ProcessPlan } from "../stack/process.ts";
import { type Stack, startSystem } from "../stack/stack.ts";
import type { Supervisor } from "../stack/supervisor.ts";
import { NODE_FLAGS } from "../stack/system.ts";
import type { Target } from "./calls.ts";
import { openHttp1Client } from "./wire/http1.ts";
import { openHttp2Client } from "./wire/http2.ts";

/** How long and how often each thing is measured. */
export type Pace = {
  readonly quick: boolean;
  /** Times that a figure and its reference are measured, in turns. */
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly sliceMs: number;
};

export type ServerKind = "transactions" | "gathering" | "unbatched" | "pipeline" | "connect-node";

export type Ground = {
  readonly stack: Stack;
  readonly supervisor: Supervisor;
  readonly pace: Pace;
  readonly orderSql: Sql;
  readonly inventorySql: Sql;
  readonly inventory: RpcClient<typeof InventoryService>;
  readonly orders: RpcClient<typeof OrderService>;
  /** Clients of one service's RPC address, for so many callers. */
  directly(service: "order" | "inventory", callers: number): Promise<Target>;
  gateway(protocol: "grpc" | "json", callers: number): Promise<Target>;
  /** Starts one of the servers of bench/serve.ts, once, and gives its URL. */
  reference(kind: ServerKind): Promise<string>;
  /** The database of the reference with a transaction for each call. */
  referenceSql(): Promise<Sql>;
  close(): Promise<void>;
};

const RPC_TIMEOUT_MS = 30_000;
const READY_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 900_000;
/** Callers that share a connection, as they would behind a gateway. */
const CALLERS_A_CONNECTION = 64;
const REFERENCE_DATABASE = "holdfast_reference";

/**
 * Starts the system in an empty folder with data that survives a crash: without that the figures would be of
 * no use.
 */
export async function prepareGround(
  supervisor: Supervisor,
  pace: Pace,
  log: (line: string) => void,
): Promise<Ground> {
  const stack = await startSystem(supervisor, {
    folder: supervisor.folder,
    ports: "free",
    order: 1,
    inventory: 1,
    throwAway: false,
    log,
  });
  const orderSql = connectTo(variable(stack, "ORDER_DATABASE_URL"));
  const inventorySql = connectTo(variable(stack, "INVENTORY_DATABASE_URL"));
  const rpcUrls = {
    order: variable(stack, "ORDER_RPC_URLS"),
    inventory: variable(stack, "INVENTORY_RPC_URLS"),
  };
  const references = new Map<ServerKind, Promise<string>>();
  let referenceSql: Sql | undefined;

  async function referenceDatabaseUrl(): Promise<string> {
    return await ensureOwnedDatabase(variable(stack, "ADMIN_DATABASE_URL"), REFERENCE_DATABASE);
  }

  async function startReference(kind: ServerKind): Promise<string> {
    const databaseUrl =
      kind === "transactions" ? await referenceDatabaseUrl() : variable(stack, "INVENTORY_DATABASE_URL");
    return await startServer(supervisor, kind, databaseUrl);
  }

  return {
    stack,
    supervisor,
    pace,
    orderSql,
    inventorySql,
    inventory: createRpcClient({
      urls: [rpcUrls.inventory],
      service: InventoryService,
      timeoutMs: RPC_TIMEOUT_MS,
    }),
    orders: createRpcClient({ urls: [rpcUrls.order], service: OrderService, timeoutMs: RPC_TIMEOUT_MS }),
    directly: (service, callers) => targetAt(rpcUrls[service], callers),
    gateway: async (protocol, callers) => {
      if (protocol === "grpc") return await targetAt(stack.gatewayUrl, callers);
      const client = await openHttp1Client(stack.gatewayUrl, callers);
      return { client, authority: new URL(stack.gatewayUrl).host };
    },
    reference: (kind) => {
      const started = references.get(kind) ?? startReference(kind);
      references.set(kind, started);
      return started;
    },
    referenceSql: async () => {
      referenceSql ??= connectTo(await referenceDatabaseUrl());
      return referenceSql;
    },
    close: async () => {
      const pools = [orderSql, inventorySql, ...(referenceSql ? [referenceSql] : [])];
      await Promise.all(pools.map((sql) => sql.end({ timeout: 5 })));
    },
  };
}

/** Opens as many connections to a gRPC server as so many callers would share. */
export async function targetAt(url: string, callers: number): Promise<Target> {
  const connections = Math.max(1, Math.ceil(callers / CALLERS_A_CONNECTION));
  return { client: await openHttp2Client({ urls: [url], connections }), authority: new URL(url).host };
}

/** A variable of the stack's address book. */
export function variable(stack: Stack, name: string): string {
  const value = stack.env[name];
  if (value === undefined) throw new Error(`the stack does not say where ${name} is`);
  return value;
}

/** Opens a small pool for laying down and checking data. */
export function connectTo(url: string): Sql {
  return connect({ url, name: "bench", max: 2, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
}

async function startServer(supervisor: Supervisor, kind: ServerKind, databaseUrl: string): Promise<string> {
  const [port = 0] = await findFreePorts(1);
  const plan: ProcessPlan = {
    name: kind,
    command: process.execPath,
    args: [...NODE_FLAGS, join(import.meta.dirname, "serve.ts"), kind],
    cwd: join(import.meta.dirname, ".."),
    env: { NODE_ENV: "production", RPC_ADDRESS: `127.0.0.1:${port}`, DATABASE_URL: databaseUrl },
    stopSignal: "SIGTERM",
    stopTimeoutMs: 5_000,
    hurrySignal: "SIGKILL",
    isReady: () => listens(port),
    readyTimeoutMs: READY_TIMEOUT_MS,
  };
  await supervisor.start(plan);
  return `http://127.0.0.1:${port}`;
}

async function listens(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connectSocket({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
