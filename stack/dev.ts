/** `make dev`: the whole system in the foreground, its data kept in `.dev/`, until Ctrl-C. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describeFailure, Problem } from "./problem.ts";
import { forever, runSupervised } from "./program.ts";
import { chosenVariables, type StackOptions, startSystem } from "./stack.ts";
import { GATEWAY_PORT, GATEWAY_PORT_MAX, INSTANCES_MAX } from "./system.ts";

const root = join(import.meta.dirname, "..");
const folder = join(root, ".dev");
const startedAt = performance.now();

function log(line: string): void {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`${seconds.padStart(6)} s  ${line}`);
}

function readOptions(): StackOptions {
  const dotEnv = join(root, ".env");
  if (existsSync(dotEnv)) process.loadEnvFile(dotEnv);
  return {
    folder,
    ports: wholeNumber("HOLDFAST_PORT", GATEWAY_PORT, GATEWAY_PORT_MAX),
    order: wholeNumber("ORDER", 1, INSTANCES_MAX),
    inventory: wholeNumber("INVENTORY", 1, INSTANCES_MAX),
    throwAway: false,
    env: chosenVariables(),
    given: { databaseUrl: process.env["DATABASE_URL"], amqpUrl: process.env["AMQP_URL"] },
    log,
  };
}

function wholeNumber(name: string, standard: number, max: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return standard;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new Problem(
    `${name} is "${text}".`,
    `Give a whole number from 1 to ${max}, or leave it out for ${standard}.`,
  );
}

async function main(): Promise<void> {
  const options = readOptions();
  await runSupervised({ folder, throwAway: false, endsBySignal: true, log }, async (supervisor) => {
    const stack = await startSystem(supervisor, options);
    console.log(`Holdfast is ready: ${stack.gatewayUrl}`);
    log("logs are in .dev/log, addresses in .dev/run/stack.env; Ctrl-C stops it");
    return await forever();
  });
}

try {
  await main();
} catch (error) {
  console.error(describeFailure(error));
  process.exit(1);
}
