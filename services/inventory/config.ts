import { type ConfigSpec, readConfig } from "#libs/boot";

const address = /^[\w.-]+:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$/i;
const onOrOff = /^(on|off)$/;

/** Every variable that the service reads; there are no others. */
export const configSpec = {
  INSTANCE: { about: "the name of this instance, for logs and connections", default: "inventory-1" },
  RPC_ADDRESS: {
    about: "host:port to serve gRPC, gRPC-Web and Connect on, over cleartext HTTP/2",
    default: "127.0.0.1:8083",
    pattern: address,
  },
  OPS_ADDRESS: {
    about: "host:port to serve /livez, /readyz and /metrics on, over HTTP/1.1",
    default: "127.0.0.1:8084",
    pattern: address,
  },
  DATABASE_URL: {
    about: "where the service's own database is: postgres://user:password@host:port/holdfast_inventory",
    pattern: /^postgres(ql)?:\/\//,
  },
  AMQP_URL: { about: "where RabbitMQ is: amqp://user:password@host:port", pattern: /^amqps?:\/\// },
  LOG_LEVEL: {
    about: "the least serious level that is logged: trace, debug, info, warn, error, fatal, silent",
    default: "info",
    pattern: /^(trace|debug|info|warn|error|fatal|silent)$/,
  },
  EXPIRY_NUDGES: {
    about: "on or off: expire reservations when the broker says",
    default: "on",
    pattern: onOrOff,
  },
  EXPIRY_SWEEPER: {
    about: "on or off: expire reservations that are overdue",
    default: "on",
    pattern: onOrOff,
  },
} satisfies ConfigSpec;

export type InventoryConfig = {
  readonly instance: string;
  readonly rpcAddress: string;
  readonly opsAddress: string;
  readonly databaseUrl: string;
  readonly amqpUrl: string;
  readonly logLevel: string;
  readonly expiryNudges: boolean;
  readonly expirySweeper: boolean;
};

/** Reads the service's configuration; throws one error that names everything that is wrong with it. */
export function readInventoryConfig(
  environment: Readonly<Record<string, string | undefined>>,
): InventoryConfig {
  const values = readConfig(configSpec, environment);
  return {
    instance: values.INSTANCE,
    rpcAddress: values.RPC_ADDRESS,
    opsAddress: values.OPS_ADDRESS,
    databaseUrl: values.DATABASE_URL,
    amqpUrl: values.AMQP_URL,
    logLevel: values.LOG_LEVEL,
    expiryNudges: values.EXPIRY_NUDGES === "on",
    expirySweeper: values.EXPIRY_SWEEPER === "on",
  };
}
