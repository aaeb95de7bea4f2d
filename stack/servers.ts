import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planPostgres } from "./postgres.ts";
import { planRabbitmq } from "./rabbitmq.ts";
import type { Supervisor } from "./supervisor.ts";
import { postgresSettings, rabbitmqSettings, type ServerPorts } from "./system.ts";

export type ServerOptions = {
  readonly ports: ServerPorts;
  readonly throwAway: boolean;
  /** Servers that are there already, which are then used instead of private ones. */
  readonly given: { readonly databaseUrl?: string | undefined; readonly amqpUrl?: string | undefined };
  /** The management API of a given broker. */
  readonly rabbitmqApiUrl?: string | undefined;
  log(line: string): void;
};

/** Where the database server and the broker are. */
export type Servers = {
  /** A user of the database server who may make databases. */
  readonly adminDatabaseUrl: string;
  readonly amqpUrl: string;
  readonly rabbitmqApiUrl: string | undefined;
};

/** Starts a private Postgres and a private RabbitMQ side by side, each unless one is given. */
export async function startServers(supervisor: Supervisor, options: ServerOptions): Promise<Servers> {
  const password = ensurePassword(supervisor.folder);
  const postgres = startPostgres(supervisor, options, password);
  const rabbitmq = startRabbitmq(supervisor, options, password);
  await Promise.all([postgres, rabbitmq]);
  return { adminDatabaseUrl: await postgres, ...(await rabbitmq) };
}

async function startPostgres(supervisor: Supervisor, options: ServerOptions, password: string) {
  if (options.given.databaseUrl) return options.given.databaseUrl;
  const { folder } = supervisor;
  const { ports, throwAway } = options;
  const part = await planPostgres({
    folder,
    port: ports.postgres,
    password,
    throwAway,
    settings: postgresSettings,
  });
  await supervisor.start(part.plan);
  return part.adminUrl;
}

async function startRabbitmq(supervisor: Supervisor, options: ServerOptions, password: string) {
  const { given, rabbitmqApiUrl, ports, log } = options;
  if (given.amqpUrl) return { amqpUrl: given.amqpUrl, rabbitmqApiUrl };
  const { folder } = supervisor;
  const part = await planRabbitmq({ folder, ports, password, settings: rabbitmqSettings, log });
  await supervisor.start(part.epmd);
  await supervisor.start(part.broker);
  return { amqpUrl: part.amqpUrl, rabbitmqApiUrl: part.apiUrl };
}

/** One password for both private servers, made once and kept beside their data. */
function ensurePassword(folder: string): string {
  const path = join(folder, "password");
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, randomBytes(24).toString("hex"), { mode: 0o600 });
  }
  return readFileSync(path, "utf8").trim();
}
