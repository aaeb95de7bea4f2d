import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { renderGateway } from "../gateway/render.ts";
import { findEnvoy, planEnvoy } from "./envoy.ts";
import { isPortFree } from "./ports.ts";
import { ensureDatabase, ensureOwnedDatabase } from "./postgres.ts";
import { Problem } from "./problem.ts";
import type { ProcessPlan } from "./process.ts";
import { addressBookPath } from "./record.ts";
import { startServers } from "./servers.ts";
import { answersOk, migrateService, planService } from "./service.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";
import {
  databases,
  environmentOf,
  type Instance,
  instancesFor,
  type Layout,
  layoutFrom,
  layoutOnFreePorts,
  rpcUrls,
  SERVICES,
  type ServiceName,
  type Surroundings,
  serviceVariables,
} from "./system.ts";

export type StackOptions = {
  /** Where data, logs and pid files lie. */
  readonly folder: string;
  /** The gateway's port, which the others follow, or any that are free. */
  readonly ports: "free" | number;
  /** Instances of each service. */
  readonly order: number;
  readonly inventory: number;
  /** Give up safety against a crash of the machine, and remove the folder at the end. */
  readonly throwAway: boolean;
  /**
   * Values for those variables of the services that a person may set (LOG_LEVEL, EXPIRY_SWEEPER and so on).
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Servers that are there already, which are then used instead of private ones. */
  readonly given?: { readonly databaseUrl?: string | undefined; readonly amqpUrl?: string | undefined };
  /** Has the last word on what an instance is told: tests of faults put something between two parts here. */
  rewire?(instance: string, env: Readonly<Record<string, string>>): Promise<Readonly<Record<string, string>>>;
  log?(line: string): void;
};

/** The whole system, running. */
export type Stack = {
  readonly gatewayUrl: string;
  /** Where everything is: what `run/stack.env` says. */
  readonly env: Readonly<Record<string, string>>;
  /** The number of each live process, by its name. */
  processes(): ReadonlyMap<string, number>;
  /** Stops a process in good order, starts it again and waits until it is ready. */
  restart(name: string): Promise<void>;
  /**
   * Sends a signal to a process and waits until it has ended of it (of SIGSTOP it does not); it is started
   * again.
   */
  kill(name: string, signal: NodeJS.Signals): Promise<void>;
  /** Waits until a process that was killed is ready again. */
  ready(name: string): Promise<void>;
  /** Stops a process and leaves it stopped until `start`. */
  halt(name: string): Promise<void>;
  start(name: string): Promise<void>;
  /** Stops everything and leaves no process behind; in a hurry where nothing is to be saved. */
  stop(hurry?: boolean): Promise<void>;
};

/** After the last part is ready, the gateway has yet to hear so from its health checks. */
const ALL_ANSWER_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

/**
 * Starts the whole system in its own folder and waits until everything answers; nothing is left of one that
 * can't.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { folder, throwAway, log = () => {} } = options;
  const supervisor = await createSupervisor({ folder, throwAway, log });
  try {
    return await startSystem(supervisor, options);
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
}

/** Starts the whole system under a supervisor that the caller has made, and stops on failure too. */
export async function startSystem(supervisor: Supervisor, options: StackOptions): Promise<Stack> {
  const { folder, ports, order, inventory, throwAway, log = () => {} } = options;
  const counts = { order, inventory };
  const layout = ports === "free" ? await layoutOnFreePorts(counts) : layoutFrom(ports, counts);
  if (ports !== "free") await checkPorts(layout);
  const gatewayUrl = `http://127.0.0.1:${layout.gateway}`;

  const gatewayPlanned = planGateway(layout, options);
  const serversStarted = startServers(supervisor, {
    ports: layout.servers,
    throwAway,
    given: options.given ?? {},
    log,
  });
  // Both are waited for, so that no installer is still at work when the failure of the other ends the stack.
  await Promise.allSettled([gatewayPlanned, serversStarted]);
  const [gateway, servers] = [await gatewayPlanned, await serversStarted];

  // A server of someone else's is asked for no more than the databases.
  const ensure = options.given?.databaseUrl ? ensureDatabase : ensureOwnedDatabase;
  const databaseUrls = {
    order: await ensure(servers.adminDatabaseUrl, databases.order),
    inventory: await ensure(servers.adminDatabaseUrl, databases.inventory),
  };
  const around: Surroundings = { databaseUrls, amqpUrl: servers.amqpUrl, chosen: options.env ?? {} };
  await startServices(supervisor, layout, around, options.rewire);

  await supervisor.start(gateway);
  await allAnswer(gatewayUrl);

  const env = addressBook(layout, databaseUrls, servers);
  writeAddressBook(folder, env);
  return handle(supervisor, gatewayUrl, env);
}

async function planGateway(layout: Layout, options: StackOptions): Promise<ProcessPlan> {
  const folder = join(options.folder, "gateway");
  const configPath = await renderGateway({
    listen: `127.0.0.1:${layout.gateway}`,
    admin: `127.0.0.1:${layout.envoyAdmin}`,
    clusters: { order: addressesOf(layout, "order"), inventory: addressesOf(layout, "inventory") },
    folder,
  });
  const binary = await findEnvoy(options.log ?? (() => {}));
  const concurrency = options.throwAway ? 1 : 2;
  return planEnvoy({ binary, folder, configPath, adminPort: layout.envoyAdmin, concurrency });
}

async function startServices(
  supervisor: Supervisor,
  layout: Layout,
  around: Surroundings,
  rewire: StackOptions["rewire"],
): Promise<void> {
  const environment = (instance: Instance) => environmentOf(instance, layout, around);
  await Promise.all(
    SERVICES.map(async (service) => {
      const [first] = instancesFor(layout, service);
      if (first) await migrateService(service, environment(first));
    }),
  );
  await Promise.all(
    layout.instances.map(async (instance) => {
      const env = environment(instance);
      await supervisor.start(planService(instance, (await rewire?.(instance.name, env)) ?? env));
    }),
  );
}

async function checkPorts(layout: Layout): Promise<void> {
  for (const [port, owner] of layout.ports) {
    if (await isPortFree(port)) continue;
    throw new Problem(
      `Port ${port}, meant for ${owner}, is taken by another program.`,
      `End that program, or choose another port for the gateway, which the others follow: HOLDFAST_PORT=${
        layout.gateway + 1000
      } make dev`,
    );
  }
}

async function allAnswer(gatewayUrl: string): Promise<void> {
  const deadline = performance.now() + ALL_ANSWER_TIMEOUT_MS;
  while (!(await answersOk(`${gatewayUrl}/healthz`))) {
    if (performance.now() > deadline) {
      throw new Problem(
        `All parts run, but ${gatewayUrl}/healthz does not say that all is well.`,
        `Ask it yourself while \`make dev\` runs, and see the logs beside it.`,
      );
    }
    await pause(POLL_MS);
  }
}

function addressBook(
  layout: Layout,
  databaseUrls: Readonly<Record<ServiceName, string>>,
  servers: { adminDatabaseUrl: string; amqpUrl: string; rabbitmqApiUrl: string | undefined },
): Record<string, string> {
  const opsUrls = (service: ServiceName) =>
    instancesFor(layout, service).map((instance) => `http://${instance.opsAddress}`);
  return {
    GATEWAY_URL: `http://127.0.0.1:${layout.gateway}`,
    ENVOY_ADMIN_URL: `http://127.0.0.1:${layout.envoyAdmin}`,
    ORDER_DATABASE_URL: databaseUrls.order,
    INVENTORY_DATABASE_URL: databaseUrls.inventory,
    ADMIN_DATABASE_URL: servers.adminDatabaseUrl,
    AMQP_URL: servers.amqpUrl,
    ...(servers.rabbitmqApiUrl ? { RABBITMQ_API_URL: servers.rabbitmqApiUrl } : {}),
    ORDER_RPC_URLS: rpcUrls(layout, "order").join(","),
    INVENTORY_RPC_URLS: rpcUrls(layout, "inventory").join(","),
    ORDER_OPS_URLS: opsUrls("order").join(","),
    INVENTORY_OPS_URLS: opsUrls("inventory").join(","),
  };
}

function writeAddressBook(folder: string, env: Readonly<Record<string, string>>): void {
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(addressBookPath(folder), lines.join(""), { mode: 0o600 });
}

function addressesOf(layout: Layout, service: ServiceName): string[] {
  return instancesFor(layout, service).map((instance) => instance.rpcAddress);
}

function handle(supervisor: Supervisor, gatewayUrl: string, env: Readonly<Record<string, string>>): Stack {
  const one = (name: string) => supervisor.process(name);
  return {
    gatewayUrl,
    env,
    processes() {
      const live = supervisor
        .processes()
        .map((each) => [each.name, each.pid()] as const)
        .filter((entry): entry is readonly [string, number] => entry[1] !== undefined);
      return new Map(live);
    },
    async restart(name) {
      await one(name).stop();
      await one(name).start();
    },
    kill: (name, signal) => one(name).kill(signal),
    ready: (name) => one(name).ready(),
    halt: (name) => one(name).stop(),
    start: (name) => one(name).start(),
    stop: (hurry) => supervisor.stop(hurry),
  };
}

/** The variables of the services that a person may set, from the environment of this process. */
export function chosenVariables(): Record<string, string | undefined> {
  const names = serviceVariables.filter((variable) => variable.standard !== undefined);
  return Object.fromEntries(names.map(({ name }) => [name, process.env[name]]));
}
