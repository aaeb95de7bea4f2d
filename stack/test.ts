/**
 * `node stack/test.ts -- COMMAND ARGS...` runs a command beside a private, throw-away Postgres and RabbitMQ and ends with
 * its status. Without a command both stay up until Ctrl-C.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { findEnvoy } from "./envoy.ts";
import { makeThrowAwayFolder } from "./folder.ts";
import { findFreePorts } from "./ports.ts";
import { describeFailure } from "./problem.ts";
import { startServers } from "./servers.ts";
import { stoppedBySignal } from "./signals.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";

const log = (line: string) => console.error(`stack: ${line}`);

async function main(command: readonly string[]): Promise<number> {
  const supervisor = await createSupervisor({ folder: makeThrowAwayFolder("test"), throwAway: true, log });
  const stopped = stoppedBySignal(supervisor, log);
  return await Promise.race([stopped, run(supervisor, command)]);
}

async function run(supervisor: Supervisor, command: readonly string[]): Promise<number> {
  try {
    const variables = await start(supervisor);
    const status = await runCommand(supervisor, command, variables);
    await supervisor.stop();
    return status;
  } catch (error) {
    if (supervisor.isStopping()) return await new Promise(() => {});
    await supervisor.stop();
    throw error;
  }
}

async function start(supervisor: Supervisor): Promise<Record<string, string>> {
  const envoyFound = findEnvoy(log);
  const [postgres = 0, amqp = 0, management = 0, distribution = 0, epmd = 0] = await findFreePorts(5);
  const serversStarted = startServers(supervisor, {
    ports: { postgres, amqp, management, distribution, epmd },
    throwAway: true,
    given: { databaseUrl: process.env["DATABASE_URL"], amqpUrl: process.env["AMQP_URL"] },
    rabbitmqApiUrl: process.env["RABBITMQ_API_URL"],
    log,
  });
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
    return await new Promise(() => {});
  }
  const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, ...variables } });
  supervisor.adopt("command", child);
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? (signal ? 128 + constants.signals[signal] : 1)));
  });
}

try {
  const separator = process.argv.indexOf("--");
  process.exitCode = await main(separator < 0 ? [] : process.argv.slice(separator + 1));
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = 1;
}
process.exit();
