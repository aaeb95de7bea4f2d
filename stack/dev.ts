/** `make dev`: the whole system in the foreground, its data kept in `.dev/`, until Ctrl-C. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describeFailure, Problem } from "./problem.ts";
import { stoppedBySignal } from "./signals.ts";
import { chosenVariables, startSystem } from "./stack.ts";
import { createSupervisor, type Supervisor } from "./supervisor.ts";
import { GATEWAY_PORT, GATEWAY_PORT_MAX, INSTANCES_MAX } from "./system.ts";

const root = join(import.meta.dirname, "..");
const folder = join(root, ".dev");
const startedAt = performance.now();

function log(line: string): void {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`${seconds.padStart(6)} s  ${line}`);
}

async function main(): Promise<number> {
  const dotEnv = join(root, ".env");
  if (existsSync(dotEnv)) process.loadEnvFile(dotEnv);
  const port = wholeNumber("HOLDFAST_PORT", GATEWAY_PORT, 1, GATEWAY_PORT_MAX);
  const order = wholeNumber("ORDER", 1, 1, INSTANCES_MAX);
  const inventory = wholeNumber("INVENTORY", 1, 1, INSTANCES_MAX);
  const supervisor = await createSupervisor({ folder, throwAway: false, log });
  const stopped = stoppedBySignal(supervisor, log);
  return await Promise.race([stopped, run(supervisor, { port, order, inventory })]);
}

async function run(
  supervisor: Supervisor,
  { port, order, inventory }: { port: number; order: number; inventory: number },
): Promise<number> {
  try {
    const stack = await startSystem(supervisor, {
      folder,
      ports: port,
      order,
      inventory,
      throwAway: false,
      env: chosenVariables(),
      given: { databaseUrl: process.env["DATABASE_URL"], amqpUrl: process.env["AMQP_URL"] },
      log,
    });
    console.log(`Holdfast is ready: ${stack.gatewayUrl}`);
    log("logs are in .dev/log, addresses in .dev/run/stack.env; Ctrl-C stops it");
    return await new Promise(() => {});
  } catch (error) {
    // A start that was cut short by a signal is no failure: the signal's own stop gives the status.
    if (supervisor.isStopping()) return await new Promise(() => {});
    await supervisor.stop();
    throw error;
  }
}

function wholeNumber(name: string, standard: number, min: number, max: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return standard;
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Problem(
    `${name} is "${text}".`,
    `Give a whole number from ${min} to ${max}, or leave it out for ${standard}.`,
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = 1;
}
process.exit();
