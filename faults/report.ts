import type { Result } from "./scenarios.ts";
import type { Outcome } from "./trial.ts";

/** One line of the report. */
export type Row = {
  readonly name: string;
  readonly times: number;
  readonly calls: number;
  readonly failures: ReadonlyMap<string, number>;
  readonly lost: number;
  readonly oversold: number;
  /** Undefined, as the next one, where it was not measured. */
  readonly longestSilenceMs: number | undefined;
  readonly recoveryMs: number | undefined;
  readonly broken: readonly string[];
  /** What was measured or shown beside the figures of the table. */
  readonly notes: readonly string[];
};

/** The row of a fault under load. */
export function rowOfFault(outcome: Outcome, broken: readonly string[]): Row {
  const { fault, times, calls, failures, lost, oversold, longestSilenceMs, longestRecoveryMs, notes } =
    outcome;
  return {
    name: fault,
    times,
    calls,
    failures,
    lost: lost.length,
    oversold,
    longestSilenceMs,
    recoveryMs: longestRecoveryMs,
    broken,
    notes,
  };
}

/** The row of a scenario, which throws when it breaks a promise. */
export function rowOfScenario({ scenario, done, tally, notes = [] }: Result): Row {
  const { calls, failures } = tally;
  const longestSilenceMs = tally.longestSilenceMs || undefined;
  const nothing = { lost: 0, oversold: 0, recoveryMs: undefined, broken: [] };
  return { name: scenario, times: done, calls, failures, longestSilenceMs, notes, ...nothing };
}

/** The row of something that could not be done. */
export function rowOfError(name: string, error: unknown): Row {
  const broken = [error instanceof Error ? error.message : String(error)];
  return { name, ...nothingDone, broken, notes: [] };
}

/** The row of a fault that this machine does not allow. */
export function rowOfSkipped(name: string, why: string): Row {
  return { name, ...nothingDone, broken: [], notes: [`skipped, because ${why}`] };
}

const nothingDone = {
  times: 0,
  calls: 0,
  failures: new Map(),
  lost: 0,
  oversold: 0,
  longestSilenceMs: undefined,
  recoveryMs: undefined,
};

/** The report as a table in Markdown, with what was broken below it. */
export function reportOf(rows: readonly Row[]): string {
  const seconds = (ms: number | undefined) => (ms === undefined ? "" : `${(ms / 1_000).toFixed(1)} s`);
  const head = [
    "| fault | times | calls | calls that failed | lost | oversold | longest stall | clean audit after |",
    "|---|---:|---:|---|---:|---:|---:|---:|",
  ];
  const lines = rows.map((row) => {
    const failures = [...row.failures].map(([name, count]) => `${count} ${name}`).join(", ") || "none";
    const numbers = [row.lost, row.oversold, seconds(row.longestSilenceMs), seconds(row.recoveryMs)];
    return `| ${[row.name, row.times, row.calls, failures, ...numbers].join(" | ")} |`;
  });
  const shown = rows.flatMap(({ name, notes }) => notes.map((what) => `- ${name}: ${what}`));
  const all = rows.flatMap(({ name, broken }) => broken.map((what) => `- ${name}: ${what}`));
  return [
    ...head,
    ...lines,
    ...(shown.length > 0 ? ["", "Shown:", "", ...shown] : []),
    ...(all.length > 0 ? ["", "Broken:", ...all] : []),
  ].join("\n");
}
