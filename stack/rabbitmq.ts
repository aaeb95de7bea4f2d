import { existsSync, globSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { findOnPath, installRabbitmq } from "./install.ts";
import { Problem } from "./problem.ts";
import type { ProcessPlan } from "./process.ts";
import { answersOk } from "./service.ts";
import type { ServerPorts } from "./system.ts";

export type RabbitmqOptions = {
  readonly folder: string;
  readonly ports: ServerPorts;
  readonly password: string;
  /** Lines for rabbitmq.conf beside those that say where it listens. */
  readonly settings: Readonly<Record<string, string>>;
  log(line: string): void;
};

export type RabbitmqPart = {
  /** Erlang's name server, which the broker would otherwise leave running behind it. */
  readonly epmd: ProcessPlan;
  readonly broker: ProcessPlan;
  readonly amqpUrl: string;
  readonly apiUrl: string;
};

const BROKER_USER = "holdfast";
const STOP_TIMEOUT_MS = 20_000;
/** It takes 6 to 13 s on an idle machine, and longer beside a test run on two cores. */
const READY_TIMEOUT_MS = 120_000;
const EPMD_TIMEOUT_MS = 10_000;
const PROBE_TIMEOUT_MS = 2_000;

/**
 * Where packages put the script that runs the broker as it is told. The one in /usr/sbin is not among them:
 * it changes the user and drops the environment.
 */
const SCRIPTS = [
  "/usr/lib/rabbitmq/bin/rabbitmq-server",
  "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
  "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
  "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
  "/opt/rabbitmq/sbin/rabbitmq-server",
];

/**
 * Writes the configuration of a private node, and says how it is run. Installs RabbitMQ where it is missing.
 */
export async function planRabbitmq(options: RabbitmqOptions): Promise<RabbitmqPart> {
  const { ports, password } = options;
  const script = findScript() ?? (await installRabbitmq(options.log), findScript());
  if (!script) {
    throw new Problem(
      "RabbitMQ was installed, but its server is in none of the known places.",
      "Give a broker of your own: AMQP_URL=amqp://user:password@host:5672",
    );
  }
  const home = join(options.folder, "rabbitmq");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  writeConfiguration(home, options);
  const amqpUrl = `amqp://${BROKER_USER}:${password}@127.0.0.1:${ports.amqp}`;
  const apiUrl = `http://${BROKER_USER}:${password}@127.0.0.1:${ports.management}`;
  return {
    epmd: planEpmd(home, ports.epmd),
    broker: planBroker(script, home, ports, apiUrl),
    amqpUrl,
    apiUrl,
  };
}

function planBroker(script: string, home: string, ports: ServerPorts, apiUrl: string): ProcessPlan {
  return {
    name: "rabbitmq",
    command: script,
    args: [],
    cwd: home,
    env: {
      HOME: home,
      // Its name server is its own, so that every stack may use the same name, and finds its data on any
      // port.
      RABBITMQ_NODENAME: "holdfast@localhost",
      RABBITMQ_NODE_PORT: String(ports.amqp),
      RABBITMQ_DIST_PORT: String(ports.distribution),
      RABBITMQ_MNESIA_BASE: join(home, "data"),
      RABBITMQ_LOG_BASE: join(home, "log"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(home, "enabled_plugins"),
      RABBITMQ_CONFIG_FILE: join(home, "rabbitmq.conf"),
      // Settings of the system's own broker are not for this node.
      RABBITMQ_CONF_ENV_FILE: join(home, "rabbitmq-env.conf"),
      RABBITMQ_ADVANCED_CONFIG_FILE: join(home, "advanced.config"),
      RABBITMQ_PID_FILE: join(home, "rabbitmq.pid"),
      // As under systemd the script becomes the broker, so that the process started is the one to signal.
      RUNNING_UNDER_SYSTEMD: "true",
      // Idle schedulers sleep at once instead of spinning: the cores are shared with all the rest of the
      // stack.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
      ERL_EPMD_PORT: String(ports.epmd),
      ERL_EPMD_ADDRESS: "127.0.0.1",
    },
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    hurrySignal: "SIGKILL",
    isReady: async () => (await listens(ports.amqp)) && (await answers(apiUrl)),
    readyTimeoutMs: READY_TIMEOUT_MS,
  };
}

function planEpmd(home: string, port: number): ProcessPlan {
  return {
    name: "epmd",
    command: findEpmd(),
    args: ["-port", String(port), "-address", "127.0.0.1"],
    cwd: home,
    env: { HOME: home },
    stopSignal: "SIGTERM",
    stopTimeoutMs: EPMD_TIMEOUT_MS,
    hurrySignal: "SIGKILL",
    isReady: () => listens(port),
    readyTimeoutMs: EPMD_TIMEOUT_MS,
  };
}

function writeConfiguration(home: string, { ports, password, settings }: RabbitmqOptions): void {
  const lines = {
    ...settings,
    "listeners.tcp.1": `127.0.0.1:${ports.amqp}`,
    "management.tcp.ip": "127.0.0.1",
    "management.tcp.port": String(ports.management),
    default_user: BROKER_USER,
    default_pass: password,
    // To the standard output, and so to the log beside all others.
    "log.file": "false",
    "log.console": "true",
    "log.console.level": "info",
  };
  const text = Object.entries(lines).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(join(home, "rabbitmq.conf"), text.join(""), { mode: 0o600 });
  writeFileSync(join(home, "enabled_plugins"), "[rabbitmq_management].\n");
  writeFileSync(join(home, "rabbitmq-env.conf"), "");
  writeFileSync(join(home, "advanced.config"), "[].\n");
}

function findScript(): string | undefined {
  return globSync(SCRIPTS).sort().at(-1);
}

function findEpmd(): string {
  const erl = findOnPath("erl");
  const beside = erl ? [join(dirname(erl), "epmd"), join(dirname(realpathSync(erl)), "epmd")] : [];
  const found = findOnPath("epmd") ?? beside.find((path) => existsSync(path));
  if (found) return found;
  throw new Problem(
    "Erlang's name server, epmd, is not on the PATH.",
    "Install Erlang (Debian: `apt-get install erlang-base`), or give a broker of your own: AMQP_URL=...",
  );
}

async function listens(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: PROBE_TIMEOUT_MS });
    const answer = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once("connect", () => answer(true));
    socket.once("timeout", () => answer(false));
    socket.once("error", () => answer(false));
  });
}

async function answers(apiUrl: string): Promise<boolean> {
  const { username, password, origin } = new URL(apiUrl);
  return await answersOk(`${origin}/api/overview`, {
    authorization: `Basic ${btoa(`${username}:${password}`)}`,
  });
}
