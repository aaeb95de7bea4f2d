import { type Spread, spreadOf } from "./spread.ts";

/** What a figure must be, and what it should be. */
export type Goal = {
  readonly name: string;
  readonly direction: "at least" | "at most";
  readonly must: number;
  readonly aim: number;
  readonly unit: string;
};

/** A figure beside its goal. */
export type Judged = {
  readonly goal: Goal;
  readonly spread: Spread;
  readonly figures: readonly number[];
  readonly verdict: "aim" | "must" | "missed";
};

/** The quick form is short and the machine is somebody's: it fails only beyond a quarter. */
export const QUICK_SLACK = 1.25;

/** Judges figures by their median. */
export function judge(goal: Goal, figures: readonly number[]): Judged {
  const spread = spreadOf(figures);
  const verdict = reaches(goal, spread.median, goal.aim)
    ? "aim"
    : reaches(goal, spread.median, goal.must)
      ? "must"
      : "missed";
  return { goal, spread, figures, verdict };
}

/** Whether the median misses what it must be by more than a quarter. */
export function isFarOff({ goal, spread }: Judged): boolean {
  const limit = goal.direction === "at least" ? goal.must / QUICK_SLACK : goal.must * QUICK_SLACK;
  return !reaches(goal, spread.median, limit);
}

function reaches(goal: Goal, figure: number, limit: number): boolean {
  return goal.direction === "at least" ? figure >= limit : figure <= limit;
}
