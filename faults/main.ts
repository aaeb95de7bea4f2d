/**
 * `make test-faults`: the long form of the fault suite. Kills, stops and cuts everything under load, and
 * writes a report to `.dev/faults.md`. FAULTS="killed broker" does those whose names have one of these words;
 * FAULT_SEED repeats a run; FAULT_SHARE=0.1 does a tenth of it. Status 1 if a promise was broken.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faults, scenarios } from "./list.ts";
import { type Row, reportOf, rowOfError, rowOfFault, rowOfScenario, rowOfSkipped } from "./report.ts";
import { type System, type SystemOptions, startFaultSystem } from "./system.ts";
import { brokenPromises, runTrial } from "./trial.ts";

const { FAULTS: words = "", FAULT_SEED, FAULT_SHARE: share = "1" } = process.env;
const seed = FAULT_SEED ? Number(FAULT_SEED) : randomInt(1, 2 ** 31);
const chosen = words.toLowerCase().split(/\s+/).filter(Boolean);
const isChosen = ({ name }: { name: string }) =>
  chosen.length === 0 || chosen.some((word) => name.toLowerCase().includes(word));
const amountOf = (long: number) => Math.max(1, Math.round(long * Number(share)));
const startedAt = performance.now();

function log(line: string): void {
  console.log(`${((performance.now() - startedAt) / 1_000).toFixed(0).padStart(5)} s  ${line}`);
}

// Each on a system of its own, so that one does not inherit what another has done.
async function onOwnSystem(
  name: string,
  work: (system: System) => Promise<Row>,
  options?: SystemOptions,
): Promise<Row> {
  log(`${name}: starting a system`);
  const system = await startFaultSystem(options);
  stopping.add(system);
  try {
    const row = await work(system);
    log(`${name}: ${row.broken.length === 0 ? "every promise was kept" : row.broken.slice(0, 5).join("; ")}`);
    return row;
  } catch (error) {
    log(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
    return rowOfError(name, error);
  } finally {
    await system.stop();
    stopping.delete(system);
  }
}

const stopping = new Set<System>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    log("stopping");
    void Promise.all([...stopping].map((system) => system.stop())).finally(() => process.exit(1));
  });
}

log(`FAULT_SEED=${seed}`);
const rows: Row[] = [];
const folder = join(import.meta.dirname, "..", ".dev");
function note(row: Row): void {
  rows.push(row);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "faults.md"), `FAULT_SEED=${seed}, share ${share}\n\n${reportOf(rows)}\n`);
}
for (const fault of faults.filter(isChosen)) {
  const why = fault.impossible?.();
  if (why !== undefined) {
    note(rowOfSkipped(fault.name, why));
    log(`${fault.name}: skipped, because ${why}`);
    continue;
  }
  note(
    await onOwnSystem(
      fault.name,
      async (system) => {
        const lastsMs = (fault.lastsMs ?? 0) * Number(share);
        const outcome = await runTrial(system, fault, amountOf(fault.times.long), seed, lastsMs);
        return rowOfFault(outcome, brokenPromises(outcome, fault));
      },
      fault.system,
    ),
  );
}
for (const { name, amounts, run, system: options } of scenarios.filter(isChosen)) {
  note(
    await onOwnSystem(
      name,
      async (system) => rowOfScenario(await run(system, amountOf(amounts.long), seed)),
      options,
    ),
  );
}
console.log(`\n${reportOf(rows)}`);
process.exit(rows.some(({ broken }) => broken.length > 0) ? 1 : 0);
