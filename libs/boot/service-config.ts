import type { ConfigSpec } from "./config.ts";

const address = /^[\w.-]+:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$/i;
const onOrOff = /^(on|off)$/;

/** What differs from service to service in the variables that all have. */
export type ServiceIdentity = {
  readonly name: string;
  /** The standard ports on 127.0.0.1. */
  readonly rpcPort: number;
  readonly opsPort: number;
  /** What runs out of time: `orders`. */
  readonly expires: string;
};

/** The variables that every service reads. */
export function serviceConfigSpec({ name, rpcPort, opsPort, expires }: ServiceIdentity) {
  return {
    INSTANCE: { about: "the name of this instance, for logs and connections", default: `${name}-1` },
    RPC_ADDRESS: {
      about: "host:port to serve gRPC, gRPC-Web and Connect on, over cleartext HTTP/2",
      default: `127.0.0.1:${rpcPort}`,
      pattern: address,
    },
    OPS_ADDRESS: {
      about: "host:port to serve /livez, /readyz and /metrics on, over HTTP/1.1",
      default: `127.0.0.1:${opsPort}`,
      pattern: address,
    },
    DATABASE_URL: {
      about: `where the service's own database is: postgres://user:password@host:port/holdfast_${name}`,
      pattern: /^postgres(ql)?:\/\//,
    },
    AMQP_URL: { about: "where RabbitMQ is: amqp://user:password@host:port", pattern: /^amqps?:\/\// },
    LOG_LEVEL: {
      about: "the least serious level that is logged: trace, debug, info, warn, error, fatal, silent",
      default: "info",
      pattern: /^(trace|debug|info|warn|error|fatal|silent)$/,
    },
    EXPIRY_NUDGES: {
      about: `on or off: have the broker say when ${expires} fall due, and expire them then`,
      default: "on",
      pattern: onOrOff,
    },
    EXPIRY_SWEEPER: {
      about: `on or off: expire ${expires} that are overdue`,
      default: "on",
      pattern: onOrOff,
    },
  } satisfies ConfigSpec;
}

/** The configuration that every service has. */
export type ServiceConfig = {
  readonly instance: string;
  readonly rpcAddress: string;
  readonly opsAddress: string;
  readonly databaseUrl: string;
  readonly amqpUrl: string;
  readonly logLevel: string;
  readonly expiryNudges: boolean;
  readonly expirySweeper: boolean;
};

/** Types the values of `serviceConfigSpec`, as `readConfig` has read them. */
export function serviceConfigOf(
  values: Readonly<Record<keyof ReturnType<typeof serviceConfigSpec>, string>>,
): ServiceConfig {
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
