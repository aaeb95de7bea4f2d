/**
 * `node stack/test.ts -- COMMAND ARGS...` runs a command beside a private, throw-away Postgres and RabbitMQ
 * and ends with its status. Without a command both stay up until Ctrl-C.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { findEnvoy } from "./envoy.ts";
import { makeThrowAwayFolder } from "./folder.ts";
import { forever, runSupervised } from "./program.ts";
import { startServers } from "./servers.ts";
import type { Supervisor } from "./supervisor.ts";
import { serverPortsOnFreePorts } from "./system.ts";

const log = (line: string) => console.error(`stack: ${line}`);

async function startTestServers(supervisor: Supervisor): Promise<Record<string, string>> {
  const envoyFound = findEnvoy(log);
  const serversStarted = startServers(supervisor, {
    ports: await serverPortsOnFreePorts(),
    throwAway: true,
    given: { databaseUrl: process.env["DATABASE_URL"], amqpUrl: process.env["AMQP_URL"] },
    rabbitmqApiUrl: process.env["RABBITMQ_API_URL"],
    log,
  });
  // Both are waited for, so that no installer is still at work when the failure of the other ends the stack.
  await Promise.allSettled([envoyFound, serversStarted]);
  const [binary, servers] = [await envoyFound, await serversStarted];
  return {
    TEST_DATABASE_URL: servers.adminDatabaseUrl,
    TEST_AMQP_URL: servers.amqpUrl,
    ...(servers.rabbitmqApiUrl ? { TEST_RABBITMQ_API_URL: servers.rabbitmqApiUrl } : {}),
    ENVOY_BIN: binary,
  };
}

async function runCommand(
  supervisor: Supervisor,
  [program, ...args]: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<number> {
  if (program === undefined) {
    for (const [name, value] of Object.entries(variables)) console.log(`export ${name}=${value}`);
    log("both servers run until Ctrl-C");
    return await forever();
  }
  const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, ...variables } });
  supervisor.adopt("command", child);
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal ? 128 + constants.signals[signal] : 1)));
  });
}

const separator = process.argv.indexOf("--");
const command = separator < 0 ? [] : process.argv.slice(separator + 1);
const folder = makeThrowAwayFolder("test");
const endsBySignal = command.length === 0;
await runSupervised({ folder, throwAway: true, endsBySignal, log }, async (supervisor) =>
  runCommand(supervisor, command, await startTestServers(supervisor)),
);
