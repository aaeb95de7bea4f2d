/**
 * `node deploy/rabbitmq-definitions.ts FILE` writes who may do what at the broker, for RabbitMQ to read when
 * it starts: one user for each service, who is kept to what the service itself declares, sends and receives,
 * and one for people. Passwords come from the environment and are written as salted hashes. Exchanges and
 * queues are not here: the services declare them.
 */
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";

/** The user for people and tools: `rabbitmqctl`, the management interface, dead letters. */
const ADMINISTRATOR = "holdfast";

/** What all services share: every one declares it, and the delay ladder leads from one to another. */
const SHARED = String.raw`events|wake|lost|lost\.dead|dead|delay\.[0-9a-z]+`;

type Permission = {
  readonly user: string;
  readonly vhost: string;
  readonly configure: string;
  readonly write: string;
  readonly read: string;
};

type TopicPermission = {
  readonly user: string;
  readonly vhost: string;
  readonly exchange: string;
  readonly write: string;
  readonly read: string;
};

export type Definitions = {
  readonly vhosts: readonly { readonly name: string }[];
  readonly users: readonly {
    readonly name: string;
    readonly password_hash: string;
    readonly hashing_algorithm: "rabbit_password_hashing_sha256";
    readonly tags: readonly string[];
  }[];
  readonly permissions: readonly Permission[];
  readonly topic_permissions: readonly TopicPermission[];
};

/** The user of a service at the broker; its database user has the same name. */
export function brokerUserOf(service: string): string {
  return `holdfast_${service}`;
}

/** What a service may do: with the shared parts what declaring them takes, with queues only its own. */
export function permissionsOf(service: string, vhost: string): Permission {
  const own = String.raw`^holdfast\.(${SHARED}|${service}\..+)$`;
  return {
    user: brokerUserOf(service),
    vhost,
    configure: own,
    // A nudge that is nearly due goes straight to its queue, by the default exchange.
    write: String.raw`^(amq\.default|holdfast\.(${SHARED}|${service}\..+))$`,
    read: own,
  };
}

/** A service may say nothing in another's name; whom it listens to is its own affair. */
export function topicPermissionOf(service: string, vhost: string): TopicPermission {
  return {
    user: brokerUserOf(service),
    vhost,
    exchange: "holdfast.events",
    write: String.raw`^holdfast\.${service}\.`,
    read: String.raw`^holdfast\.`,
  };
}

/** Everything that the broker is told: the services' passwords by service, and that of the administrator. */
export function defineBroker(
  passwords: Readonly<Record<string, string>>,
  administratorPassword: string,
  vhost = "/",
): Definitions {
  const services = Object.keys(passwords);
  const all = { vhost, configure: ".*", write: ".*", read: ".*" };
  return {
    vhosts: [{ name: vhost }],
    users: [
      userOf(ADMINISTRATOR, administratorPassword, ["administrator"]),
      ...Object.entries(passwords).map(([service, password]) => userOf(brokerUserOf(service), password, [])),
    ],
    permissions: [
      { user: ADMINISTRATOR, ...all },
      ...services.map((service) => permissionsOf(service, vhost)),
    ],
    topic_permissions: services.map((service) => topicPermissionOf(service, vhost)),
  };
}

function userOf(name: string, password: string, tags: readonly string[]): Definitions["users"][number] {
  return {
    name,
    password_hash: hashPassword(password),
    hashing_algorithm: "rabbit_password_hashing_sha256",
    tags,
  };
}

// As RabbitMQ keeps them: four bytes of salt, then SHA-256 of the salt and the password, in base64.
function hashPassword(password: string): string {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(password, "utf8").digest();
  return Buffer.concat([salt, hash]).toString("base64");
}

/** Takes each `<SERVICE>_BROKER_PASSWORD` for the password of that service. */
function readPasswords(environment: NodeJS.ProcessEnv): Record<string, string> {
  const passwords: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    const service = /^([A-Z]+)_BROKER_PASSWORD$/.exec(name)?.[1]?.toLowerCase();
    if (service !== undefined && value) passwords[service] = value;
  }
  return passwords;
}

const [, script, path] = process.argv;
if (path !== undefined && script === import.meta.filename) {
  const { RABBITMQ_PASSWORD: administratorPassword } = process.env;
  if (!administratorPassword) throw new Error("RABBITMQ_PASSWORD is not set");
  const text = JSON.stringify(defineBroker(readPasswords(process.env), administratorPassword), null, 1);
  writeFileSync(path, text);
}
