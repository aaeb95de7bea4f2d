import { readConfig, type ServiceConfig, serviceConfigOf, serviceConfigSpec } from "#libs/boot";

/** Every variable that the service reads; there are no others. */
export const configSpec = serviceConfigSpec({
  name: "inventory",
  rpcPort: 8083,
  opsPort: 8084,
  expires: "reservations",
});

export type InventoryConfig = ServiceConfig;

/** Reads the service's configuration; throws one error that names everything that is wrong with it. */
export function readInventoryConfig(
  environment: Readonly<Record<string, string | undefined>>,
): InventoryConfig {
  return serviceConfigOf(readConfig(configSpec, environment));
}
