/**
 * `node stack/test.ts -- COMMAND ARGS...` runs a command beside a private, throw-away Postgres and RabbitMQ and ends with
 * its status. Without a command both stay up until Ctrl-C.
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { findFreePorts } from "./ports.ts";
import { describeFailure } from "./problem.ts";
import { type Servers, startServers } from "./servers.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";

const log = (line: string) => console.error(`stack: ${line}`);

async function main(command: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-test-"));
  // The user that Postgres runs as must be able to pass through it.
  chmodSync(folder, 0o711);
  const supervisor = await createSupervisor({ folder, throwAway: true, log });
  const interrupted = new Promise<number>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      let count = 0;
      process.on(signal, () => {
        if (count++ > 0) void supervisor.stop(true);
        resolve(128 + constants.signals[signal]);
      });
    }
  });
  try {
    return await Promise.race([run(supervisor, command), interrupted]);
  } finally {
    await supervisor.stop();
  }
}

async function run(supervisor: Supervisor, command: readonly string[]): Promise<number> {
  const [postgres = 0, amqp = 0, management = 0, distribution = 0, epmd = 0] = await findFreePorts(5);
  const servers = await startServers(supervisor, {
    ports: { postgres, amqp, management, distribution, epmd },
    throwAway: true,
    given: { databaseUrl: process.env["DATABASE_URL"], amqpUrl: process.env["AMQP_URL"] },
    rabbitmqApiUrl: process.env["RABBITMQ_API_URL"],
    log,
  });
  const variables = testVariables(servers);
  const [program, ...args] = command;
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

function testVariables(servers: Servers): Record<string, string> {
  return {
    TEST_DATABASE_URL: servers.adminDatabaseUrl,
    TEST_AMQP_URL: servers.amqpUrl,
    ...(servers.rabbitmqApiUrl ? { TEST_RABBITMQ_API_URL: servers.rabbitmqApiUrl } : {}),
  };
}

try {
  const separator = process.argv.indexOf("--");
  process.exitCode = await main(separator < 0 ? [] : process.argv.slice(separator + 1));
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = 1;
}
process.exit();
