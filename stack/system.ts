/**
 * The one definition of the system: its services, their databases, addresses and variables, and how Postgres
 * and RabbitMQ are set up. Whatever runs the system takes these from here.
 */
import { findFreePorts } from "./ports.ts";

export const SERVICES = ["order", "inventory"] as const;
export type ServiceName = (typeof SERVICES)[number];

/** How many instances of each service run. */
export type InstanceCounts = Readonly<Record<ServiceName, number>>;

/** The ports of one service's instances lie ten apart. */
export const INSTANCES_MAX = 9;

/**
 * The young generation of a service grows to three times this size: each collection copies the calls under
 * way, so the fewer the better, but by default it may take a third of what the process keeps. And all that is
 * made is made in it: V8 would put what it has seen live for long into the old generation at once, and the
 * calls that were under way when a process was young and its collections came quickly are taken for such. It
 * is collected when it is full: by default mostly at four fifths, between two turns of the loop, so that its
 * last fifth is touched page by page, which looks like memory that leaks for ten minutes.
 */
export const YOUNG_GENERATION_FLAGS = [
  "--max-semi-space-size=32",
  "--no-allocation-site-pretenuring",
  "--no-minor-gc-task",
] as const;

/**
 * What the process of a service is told. With glibc's standard of eight heaps a core every thread of Node's
 * compiler and collector has one of its own, and keeps there what it once needed: some 25 MB after ten
 * minutes. And once a large piece was given back glibc takes all of its size from the heap, where it lies
 * between small ones that stay: named limits, in bytes, keep large pieces out of it.
 */
export const NODE_ENVIRONMENT = {
  NODE_ENV: "production",
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "131072",
  MALLOC_TRIM_THRESHOLD_: "131072",
} as const;

/**
 * How Node runs a service outside a container. The old generation is looked through for garbage the sooner,
 * the less it may ever grow to: at half the load a service then keeps less than 200 MB resident instead of
 * 250 and more. In a container the limit follows from the container's memory.
 */
export const NODE_FLAGS = [...YOUNG_GENERATION_FLAGS, "--max-old-space-size=1536"] as const;

export const databases: Readonly<Record<ServiceName, string>> = {
  order: "holdfast_order",
  inventory: "holdfast_inventory",
};

export const GATEWAY_PORT = 8080;

/** The other ports follow the gateway's at these distances; instance n of a service has its own at n more. */
const PORT_OFFSETS = { envoyAdmin: 1, postgres: 2, amqp: 3, management: 4, distribution: 5, epmd: 6 };
const SERVICE_PORT_OFFSETS: Readonly<Record<ServiceName, { rpc: number; ops: number }>> = {
  order: { rpc: 10, ops: 20 },
  inventory: { rpc: 30, ops: 40 },
};
/** The highest port of the gateway that leaves room for those that follow it. */
export const GATEWAY_PORT_MAX = 65_535 - 50;

/** In containers every part has an address of its own, and so the ports that everybody knows. */
export const containerPorts = { gateway: 8080, rpc: 8080, ops: 9090, postgres: 5432, amqp: 5672 };

export type ServerPorts = {
  readonly postgres: number;
  readonly amqp: number;
  readonly management: number;
  readonly distribution: number;
  readonly epmd: number;
};

export type Instance = {
  /** Also the name of its log and pid file. */
  readonly name: string;
  readonly service: ServiceName;
  readonly rpcAddress: string;
  readonly opsAddress: string;
};

/** Where everything listens. */
export type Layout = {
  readonly gateway: number;
  readonly envoyAdmin: number;
  readonly servers: ServerPorts;
  readonly instances: readonly Instance[];
  /** Each port with whose it is, in the words of a message. */
  readonly ports: ReadonlyMap<number, string>;
};

/** The layout that follows from the gateway's port. */
export function layoutFrom(gateway: number, counts: InstanceCounts): Layout {
  const offsets = [0, ...Object.values(PORT_OFFSETS)];
  for (const { service, index } of instancesOf(counts)) {
    const { rpc, ops } = SERVICE_PORT_OFFSETS[service];
    offsets.push(rpc + index, ops + index);
  }
  return layout(
    counts,
    offsets.map((offset) => gateway + offset),
  );
}

/** A layout on ports that are free, for a stack beside others. */
export async function layoutOnFreePorts(counts: InstanceCounts): Promise<Layout> {
  const count = 1 + Object.keys(PORT_OFFSETS).length + 2 * instancesOf(counts).length;
  return layout(counts, await findFreePorts(count));
}

/** Ports for a database server and a broker alone. */
export async function serverPortsOnFreePorts(): Promise<ServerPorts> {
  return (await layoutOnFreePorts({ order: 0, inventory: 0 })).servers;
}

function layout(counts: InstanceCounts, numbers: readonly number[]): Layout {
  const ports = new Map<number, string>();
  let next = 0;
  const take = (owner: string): number => {
    const port = numbers[next++];
    if (port === undefined) throw new Error(`there is no port left for ${owner}`);
    ports.set(port, owner);
    return port;
  };
  const gateway = take("the gateway");
  const envoyAdmin = take("the gateway's admin interface");
  const servers = {
    postgres: take("Postgres"),
    amqp: take("RabbitMQ"),
    management: take("RabbitMQ's management"),
    distribution: take("RabbitMQ's own connections"),
    epmd: take("RabbitMQ's name server"),
  };
  const instances = instancesOf(counts).map(({ service, index }) => {
    const name = `${service}-${index}`;
    const rpcAddress = `127.0.0.1:${take(name)}`;
    return { name, service, rpcAddress, opsAddress: `127.0.0.1:${take(`${name}'s health`)}` };
  });
  return { gateway, envoyAdmin, servers, instances, ports };
}

function instancesOf(counts: InstanceCounts): { service: ServiceName; index: number }[] {
  return SERVICES.flatMap((service) =>
    Array.from({ length: counts[service] }, (_, position) => ({ service, index: position + 1 })),
  );
}

export type ServiceVariable = {
  readonly name: string;
  readonly services: readonly ServiceName[];
  /**
   * Where a person may set it, what it is when nobody does; a variable without is set by whatever runs the
   * system.
   */
  readonly standard?: string;
  readonly meaning: string;
};

/** Every variable that a service reads. */
export const serviceVariables: readonly ServiceVariable[] = [
  { name: "INSTANCE", services: SERVICES, meaning: "the name of this process in logs and metrics" },
  { name: "RPC_ADDRESS", services: SERVICES, meaning: "where it serves gRPC, gRPC-Web and Connect (HTTP/2)" },
  { name: "OPS_ADDRESS", services: SERVICES, meaning: "where it serves /livez, /readyz and /metrics" },
  { name: "DATABASE_URL", services: SERVICES, meaning: "its own database" },
  { name: "AMQP_URL", services: SERVICES, meaning: "the broker" },
  { name: "INVENTORY_URL", services: ["order"], meaning: "the instances of inventory, separated by commas" },
  { name: "LOG_LEVEL", services: SERVICES, standard: "info", meaning: "debug, info, warn or error" },
  {
    name: "EXPIRY_NUDGES",
    services: SERVICES,
    standard: "on",
    meaning: "expire by delayed messages: on, off",
  },
  {
    name: "EXPIRY_SWEEPER",
    services: SERVICES,
    standard: "on",
    meaning: "expire by looking now and then: on, off",
  },
  {
    name: "RECOVERY_AFTER_MS",
    services: ["order"],
    standard: "30000",
    meaning: "milliseconds after which an order whose reservation nobody answered is given up",
  },
];

/** What a service is told beside its own place in the layout. */
export type Surroundings = {
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  readonly amqpUrl: string;
  /** Values for the variables that a person may set. */
  readonly chosen: Readonly<Record<string, string | undefined>>;
};

/** The whole environment of one instance. */
export function environmentOf(instance: Instance, all: Layout, around: Surroundings): Record<string, string> {
  const values: Record<string, string | undefined> = {
    ...around.chosen,
    INSTANCE: instance.name,
    RPC_ADDRESS: instance.rpcAddress,
    OPS_ADDRESS: instance.opsAddress,
    DATABASE_URL: around.databaseUrls[instance.service],
    AMQP_URL: around.amqpUrl,
    INVENTORY_URL: rpcUrls(all, "inventory").join(","),
  };
  const environment: Record<string, string> = {};
  for (const { name, services, standard } of serviceVariables) {
    if (!services.includes(instance.service)) continue;
    const value = values[name] ?? standard;
    if (value === undefined) throw new Error(`${instance.name} has no value for ${name}`);
    environment[name] = value;
  }
  return environment;
}

/** The addresses of a service's instances, as the gateway and the other services call them. */
export function rpcUrls(all: Layout, service: ServiceName): string[] {
  return instancesFor(all, service).map((instance) => `http://${instance.rpcAddress}`);
}

/** The instances of one service. */
export function instancesFor(all: Layout, service: ServiceName): Instance[] {
  return all.instances.filter((instance) => instance.service === service);
}

/** How Postgres is set up wherever the project runs it. */
export const postgresSettings: Readonly<Record<string, string>> = {
  // 8 connections a service process, so that 30 of them fit, and room for tests and people beside them.
  max_connections: "300",
  // The hot rows of a busy shop fit many times over, and a laptop does not notice.
  shared_buffers: "256MB",
  // A batch is one transaction: fewer and larger checkpoints cost less than the disk they take.
  max_wal_size: "2GB",
  checkpoint_timeout: "15min",
  // The files of the log are kept when a rush is over, for the next one. Nor is a new one filled with zeros
  // before it is used: all commits would wait for that, some 100 ms for every 16 MB of log.
  min_wal_size: "2GB",
  wal_init_zero: "off",
  // What was answered must survive a crash of the machine: the promises need it.
  synchronous_commit: "on",
  TimeZone: "UTC",
  log_timezone: "UTC",
};

/** How RabbitMQ is set up wherever the project runs it. */
export const rabbitmqSettings: Readonly<Record<string, string>> = {
  // Publishers are blocked above it; quorum queues keep only their newest messages in memory.
  "vm_memory_high_watermark.absolute": "1GB",
  // Publishers are blocked below it, before the disk is full and Postgres is hit too.
  "disk_free_limit.absolute": "500MB",
};
