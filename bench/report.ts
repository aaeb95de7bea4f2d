/** What a run found: printed as a table, kept as JSON. */
import { styleText } from "node:util";
import type { Chart } from "./figures/chart.ts";
import { type Spread, spreadOf } from "./figures/spread.ts";
import { type Goal, type Judged, judge } from "./figures/target.ts";

/** A figure without a goal. */
export type Measure = { readonly name: string; readonly unit: string; readonly spread: Spread };

/** Something that must be so for the figures to count. */
export type Check = { readonly name: string; readonly isRight: boolean; readonly detail: string };

export type ScenarioReport = {
  readonly name: string;
  seconds: number;
  readonly judged: Judged[];
  readonly measures: Measure[];
  readonly checks: Check[];
  /** By the name of their file. */
  readonly charts: Map<string, Chart>;
};

/** What a scenario writes its findings into. */
export type Notes = {
  /** A figure of each round. */
  measure(name: string, unit: string, figures: readonly number[]): void;
  goal(goal: Goal, figures: readonly number[]): void;
  check(name: string, isRight: boolean, detail: string): void;
  chart(file: string, chart: Chart): void;
};

/** An empty report, and the way to fill it. */
export function openReport(name: string): { readonly report: ScenarioReport; readonly notes: Notes } {
  const report: ScenarioReport = {
    name,
    seconds: 0,
    judged: [],
    measures: [],
    checks: [],
    charts: new Map(),
  };
  const notes: Notes = {
    measure: (measure, unit, figures) =>
      report.measures.push({ name: measure, unit, spread: spreadOf(figures) }),
    goal: (goal, figures) => report.judged.push(judge(goal, figures)),
    check: (check, isRight, detail) => report.checks.push({ name: check, isRight, detail }),
    chart: (file, chart) => report.charts.set(file, chart),
  };
  return { report, notes };
}

const NAME_WIDTH = 58;
const FIGURE_WIDTH = 10;
const SPREAD_WIDTH = 21;

/** The lines that a person reads about one scenario. */
export function describeScenario(report: ScenarioReport): string {
  const lines = [styleText("bold", `${report.name} (${report.seconds.toFixed(0)} s)`)];
  for (const { name, unit, spread } of report.measures) lines.push(row(name, spread, unit));
  for (const { goal, spread, verdict } of report.judged) {
    const wanted = `must be ${goal.direction} ${figure(goal.must)}, aim ${figure(goal.aim)}`;
    lines.push(`${row(goal.name, spread, goal.unit)}  ${verdictWord(verdict)}  ${wanted}`);
  }
  for (const { name, isRight, detail } of report.checks) {
    const word = isRight ? styleText("green", "right") : styleText("red", "WRONG");
    lines.push(`  ${word}  ${name}${detail ? `: ${detail}` : ""}`);
  }
  return lines.join("\n");
}

function row(name: string, { median, low, high }: Spread, unit: string): string {
  const spread = low === high ? "" : `${figure(low)} to ${figure(high)}`;
  const value = figure(median).padStart(FIGURE_WIDTH);
  return `  ${name.padEnd(NAME_WIDTH)}${value} ${unit.padEnd(8)}${spread.padStart(SPREAD_WIDTH)}`;
}

function verdictWord(verdict: Judged["verdict"]): string {
  if (verdict === "aim") return styleText("green", "aim reached ");
  return verdict === "must" ? styleText("green", "must reached") : styleText("red", "MISSED      ");
}

/** A figure with three digits that count. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
