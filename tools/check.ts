/**
 * Every check of the house, two at a time, one line each: `node tools/check.ts`. What failed shows what it
 * said, and the exit status is then 1. Arguments choose checks by name: `node tools/check.ts types lint`.
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const TIMEOUT_MS = 240_000;

type Check = { name: string; command: string; args: string[] };
type Outcome = { passed: boolean; output: string; tookMs: number };

// The longest first, so that the short ones fill the gaps.
const checks: Check[] = [
  { name: "house rules", command: "node", args: ["--test", "--test-reporter=dot", ...testsOfTools()] },
  {
    name: "lint",
    command: "oxlint",
    args: ["--type-aware", "--report-unused-disable-directives", "--format=unix"],
  },
  { name: "types", command: "tsc", args: ["--project", "."] },
  { name: "generated code", command: "node", args: ["tools/generate.ts", "--check"] },
  { name: "unused code", command: "knip", args: ["--no-progress"] },
  { name: "protos", command: "buf", args: ["lint"] },
  { name: "format", command: "biome", args: ["check", "--max-diagnostics=50"] },
];

function testsOfTools(): string[] {
  return globSync("tools/*.test.ts", { cwd: ROOT }).sort();
}

async function run({ command, args }: Check): Promise<Outcome> {
  const startedAt = performance.now();
  const path = `${join(ROOT, "node_modules", ".bin")}:${process.env["PATH"]}`;
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, PATH: path },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
  });
  let output = "";
  child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (output += piece.toString()));
  const passed = await new Promise<boolean>((resolve) => {
    child.on("error", (error) => {
      output += error.message;
      resolve(false);
    });
    child.on("close", (code, signal) => {
      if (signal !== null) output += `ended by ${signal} after ${(performance.now() - startedAt) / 1000} s`;
      resolve(code === 0);
    });
  });
  return { passed, output, tookMs: performance.now() - startedAt };
}

function report(check: Check, { passed, output, tookMs }: Outcome): void {
  const word = passed ? styleText("green", "ok    ") : styleText("red", "failed");
  console.log(`${word} ${check.name.padEnd(16)} ${(tookMs / 1000).toFixed(1).padStart(5)} s`);
  if (passed) return;
  console.log(`       ${[check.command, ...check.args].join(" ")}`);
  console.log(output.trimEnd().replace(/^/gm, "       "));
}

async function main(names: string[]): Promise<void> {
  const unknown = names.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0) {
    console.error(
      `no check is called ${unknown.join(", ")}; there are ${checks.map((c) => c.name).join(", ")}`,
    );
    process.exitCode = 2;
    return;
  }
  const waiting = checks.filter((check) => names.length === 0 || names.includes(check.name));
  const lanes = Math.min(availableParallelism(), waiting.length);
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
        const outcome = await run(check);
        report(check, outcome);
        if (!outcome.passed) process.exitCode = 1;
      }
    }),
  );
}

await main(process.argv.slice(2));
