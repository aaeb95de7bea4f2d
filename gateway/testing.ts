import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  isMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { type Call, type RpcServer, type RpcService, startRpcServer } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findEnvoy } from "../stack/envoy.ts";
import { findFreePorts } from "../stack/ports.ts";
import { renderGateway } from "./render.ts";

const START_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

/** A service behind the gateway whose answers a test decides; the rest is answered empty. */
export type StandIn = {
  readonly address: string;
  /** Every call that reached a handler, oldest first. */
  readonly calls: Call[];
  readonly server: RpcServer;
  answer<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    handler: (request: MessageShape<Input>, call: Call) => Promise<MessageInitShape<Output>>,
  ): void;
  stop(): Promise<void>;
};

export type ServiceName = "order" | "inventory";

/** A real Envoy with the gateway's own configuration, in front of one stand-in for each service. */
export type TestGateway = {
  readonly url: string;
  readonly adminUrl: string;
  readonly order: StandIn;
  readonly inventory: StandIn;
  stop(): Promise<void>;
};

/** Starts a stand-in on the way in that the real services have. */
export async function startStandIn(descs: readonly DescService[], address = "127.0.0.1:0"): Promise<StandIn> {
  const calls: Call[] = [];
  const handlers = new Map<string, (request: Message, call: Call) => Promise<Message>>();
  const services = descs.map(
    (desc): RpcService => ({
      desc,
      methods: desc.methods.filter(isUnary).map((method) => ({
        desc: method,
        path: `/${desc.typeName}/${method.name}`,
        handle: async (request, call) => {
          calls.push(call);
          const handler = handlers.get(`${desc.typeName}/${method.name}`);
          return handler ? await handler(request, call) : create(method.output);
        },
      })),
    }),
  );
  const server = await startRpcServer({
    address,
    services,
    reflected: [OrderService, InventoryService],
    log: pino({ enabled: false }),
  });
  return {
    address: server.address,
    calls,
    server,
    answer: (method, handler) => {
      handlers.set(`${method.parent.typeName}/${method.name}`, async (request, call) => {
        if (!isMessage(request, method.input))
          throw new Error(`${request.$typeName} is not for ${method.name}`);
        return create(method.output, await handler(request, call));
      });
    },
    stop: () => server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 }),
  };
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

/** Starts the gateway before a stand-in for each service, or before what is given at these addresses. */
export async function startTestGateway(
  instead: Partial<Record<ServiceName, string[]>> = {},
): Promise<TestGateway> {
  const order = await startStandIn([OrderService]);
  const inventory = await startStandIn([InventoryService, OrderReservationService]);
  const folder = await mkdtemp(join(tmpdir(), "holdfast-gateway-"));
  const [listen = "", admin = ""] = (await findFreePorts(2)).map((port) => `127.0.0.1:${port}`);
  const clusters = { order: [order.address], inventory: [inventory.address], ...instead };
  const binary = await findEnvoy((line) => process.stderr.write(`${line}\n`));
  const envoy = startEnvoy(binary, await renderGateway({ listen, admin, clusters, folder }));
  const [url, adminUrl] = [`http://${listen}`, `http://${admin}`];
  const probe = Object.keys(instead).length > 0 ? `${adminUrl}/ready` : `${url}/healthz`;
  await waitUntil(async () => (await fetch(probe)).status === 200, "the gateway answers");
  return {
    url,
    adminUrl,
    order,
    inventory,
    stop: async () => {
      envoy.kill("SIGTERM");
      if (envoy.exitCode === null) await once(envoy, "exit");
      await Promise.all([order.stop(), inventory.stop()]);
      await rm(folder, { recursive: true });
    },
  };
}

function startEnvoy(binary: string, config: string): ChildProcess {
  const envoy = spawn(
    binary,
    ["-c", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  // It must not outlive a test that dies; a signal alone would end this process without its exit handlers.
  process.once("exit", () => envoy.kill("SIGKILL"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  return envoy;
}

/** Waits until a fact holds; one that cannot be established yet (a refused connection) does not hold. */
export async function waitUntil(holds: () => Promise<boolean>, fact: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (await holds().catch(() => false)) return;
    await pause(POLL_MS);
  }
  throw new Error(`it was not so within ${START_TIMEOUT_MS / 1000} s: ${fact}`);
}

/** The error that a call ends with. */
export async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return await call.then(
    () => {
      throw new Error("the call succeeded");
    },
    (error: unknown) => ConnectError.from(error),
  );
}
