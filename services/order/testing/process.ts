/** The process of an instance as the tests start it, and an Inventory that has everything. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { createRpcClient, type RpcServer, service, startRpcServer } from "#libs/rpc";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";

export const MAIN = join(import.meta.dirname, "../main.ts");
const START_LIMIT_MS = 15_000;

/** A process that is ready, where it listens, and what its clock says. */
export type Running = {
  readonly process: ChildProcess;
  readonly rpc: string;
  readonly ops: string;
  readonly clock: number;
};

type Line = {
  readonly msg?: string;
  readonly rpc?: string;
  readonly ops?: string;
  readonly time?: string | number;
  readonly err?: { readonly message: string };
};

// What a process of this service logs: an object a line.
function isLine(said: unknown): said is Line {
  return typeof said === "object" && said !== null;
}

/** What a process needs to know of where it runs. */
export type Surroundings = {
  readonly databaseUrl: string;
  readonly amqpUrl: string;
  readonly inventoryUrl: string;
};

/** The environment of a process, on ports of its own. */
export function environmentOf(
  { databaseUrl, amqpUrl, inventoryUrl }: Surroundings,
  changes: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    INSTANCE: "order-test",
    RPC_ADDRESS: "127.0.0.1:0",
    OPS_ADDRESS: "127.0.0.1:0",
    DATABASE_URL: databaseUrl,
    AMQP_URL: amqpUrl,
    INVENTORY_URL: inventoryUrl,
    ...changes,
  };
}

/** Starts a process and waits until it is ready; rejects with what it says if it can't start. */
export async function startOrder(
  environment: Readonly<Record<string, string>>,
  nodeArguments: readonly string[] = [],
): Promise<Running> {
  const child = spawn(process.execPath, [...nodeArguments, MAIN], {
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const signal = AbortSignal.timeout(START_LIMIT_MS);
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<Running>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("the process did not become ready")));
    lines.on("line", (line) => {
      const said: unknown = JSON.parse(line);
      if (!isLine(said)) return;
      const { msg, rpc = "", ops = "", time = "", err } = said;
      if (msg === "the service is ready")
        resolve({ process: child, rpc, ops, clock: new Date(time).getTime() });
      if (msg === "the service could not be started") reject(new Error(err?.message));
    });
  });
  try {
    return await ready;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** Asks the process to stop and returns the status it ends with. */
export async function stopOrder({ process: child }: Running): Promise<number | null> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
  return child.exitCode;
}

/** A client of the process. */
export function clientOf({ rpc }: Running) {
  return createRpcClient({ urls: [`http://${rpc}`], service: OrderService, timeoutMs: 5_000 });
}

/** Places orders that wait for their payment for `ttlMs`, and returns their ids. */
export async function placeOrders(running: Running, count: number, ttlMs: number): Promise<string[]> {
  const client = clientOf(running);
  const request = { customerId: "ann", lines: [{ sku: "tea", quantity: 1 }], ttl: durationFromMs(ttlMs) };
  const answers = await Promise.all(Array.from({ length: count }, () => client.createOrder(request)));
  return answers.map(({ order }) => order?.orderId ?? "");
}

/** An Inventory that has everything. */
export async function startFullInventory(): Promise<RpcServer> {
  const hasEverything = service(OrderReservationService, {
    reserveOrders: async ({ orders }) => ({
      results: orders.map(() => ({ state: Reservation_State.ACTIVE })),
    }),
  });
  return await startRpcServer({
    address: "127.0.0.1:0",
    services: [hasEverything],
    reflected: [],
    log: pino({ level: "silent" }),
  });
}
