import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { Problem } from "../stack/problem.ts";
import { addressBookPath } from "../stack/record.ts";

export type Addresses = {
  readonly orderDatabaseUrl: string;
  readonly inventoryDatabaseUrl: string;
  readonly amqpUrl: string;
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Where `make dev` keeps its data. */
export const DEV_FOLDER = join(import.meta.dirname, "..", ".dev");

/**
 * Finds a running system: by ORDER_DATABASE_URL, INVENTORY_DATABASE_URL and AMQP_URL in the environment, or
 * else by what the stack in `folder` has written down.
 */
export function findAddresses(environment: Environment, folder = DEV_FOLDER): Addresses {
  return {
    orderDatabaseUrl: find("ORDER_DATABASE_URL", environment, folder),
    inventoryDatabaseUrl: find("INVENTORY_DATABASE_URL", environment, folder),
    amqpUrl: findAmqpUrl(environment, folder),
  };
}

/** Finds the broker in the same way. */
export function findAmqpUrl(environment: Environment, folder = DEV_FOLDER): string {
  return find("AMQP_URL", environment, folder);
}

function find(name: string, environment: Environment, folder: string): string {
  const path = addressBookPath(folder);
  const written = existsSync(path) ? parseEnv(readFileSync(path, "utf8")) : {};
  const value = environment[name] || written[name];
  if (value) return value;
  throw new Problem(
    `${name} is not set, and no stack runs from ${folder}.`,
    "Start one (make dev), or give ORDER_DATABASE_URL, INVENTORY_DATABASE_URL and AMQP_URL of another.",
  );
}
