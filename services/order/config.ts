import {
  type ConfigSpec,
  readConfig,
  type ServiceConfig,
  serviceConfigOf,
  serviceConfigSpec,
} from "#libs/boot";
import { limits } from "./domain/limits.ts";

/** Every variable that the service reads; there are no others. */
export const configSpec = {
  ...serviceConfigSpec({ name: "order", rpcPort: 8081, opsPort: 8082, expires: "orders" }),
  INVENTORY_URL: {
    about: "the RPC addresses of Inventory's instances: http://host:port, several with commas between",
    pattern: /^http:\/\/[^,\s]+(,http:\/\/[^,\s]+)*$/,
  },
  RECOVERY_AFTER_MS: {
    about: "milliseconds after which an order whose reservation nobody answered is given up",
    default: String(limits.recoveryAfterMs),
    pattern: /^\d{3,9}$/,
  },
} satisfies ConfigSpec;

export type OrderConfig = ServiceConfig & {
  readonly inventoryUrls: readonly string[];
  readonly recoveryAfterMs: number;
};

/** Reads the service's configuration; throws one error that names everything that is wrong with it. */
export function readOrderConfig(environment: Readonly<Record<string, string | undefined>>): OrderConfig {
  const values = readConfig(configSpec, environment);
  return {
    ...serviceConfigOf(values),
    inventoryUrls: values.INVENTORY_URL.split(","),
    recoveryAfterMs: Number(values.RECOVERY_AFTER_MS),
  };
}
