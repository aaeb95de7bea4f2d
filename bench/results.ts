import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { drawChart } from "./figures/chart.ts";
import { describeMachine } from "./machine.ts";
import type { ScenarioReport } from "./report.ts";

const FOLDER = join(import.meta.dirname, "results");

/** Writes the findings to `results/<date>.json`, and the curves beside it. */
export function keepResults(reports: readonly ScenarioReport[]): void {
  mkdirSync(FOLDER, { recursive: true });
  const now = new Date().toISOString();
  const content = {
    time: now,
    commit: commitOf(),
    machine: describeMachine(),
    scenarios: reports.map(({ charts, ...report }) => ({ ...report, charts: Object.fromEntries(charts) })),
  };
  const path = join(FOLDER, `${now.slice(0, 19).replaceAll(":", "")}.json`);
  writeFileSync(path, `${JSON.stringify(content, shortened, 1)}\n`);
  console.log(`written: ${path}`);
  for (const { charts } of reports) {
    for (const [name, chart] of charts) {
      writeFileSync(join(FOLDER, `${name}.svg`), drawChart(chart));
      console.log(`written: ${join(FOLDER, `${name}.svg`)}`);
    }
  }
}

// Six digits are more than any figure here is good for.
function shortened(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}

function commitOf(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}
