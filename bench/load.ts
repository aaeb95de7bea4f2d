import { setTimeout as pause } from "node:timers/promises";
import { addLatency, type Latencies, noLatencies } from "./figures/latency.ts";
import { OK, type Outcome } from "./wire/client.ts";

/** Does one unit of work and tells its outcome, later, exactly once. */
export type Work = (done: (outcome: Outcome) => void) => void;

/** What came of a load. */
export type Load = {
  /** Units that ended well within the measured time, a second. */
  readonly perSecond: number;
  readonly seconds: number;
  /**
   * Of units that ended well within the measured time; in an open load from the moment at which each was due.
   */
  readonly latencies: Latencies;
  /** The same by the part of the measured time in which each was due; no parts unless asked for. */
  readonly parts: readonly Latencies[];
  /** Of units that ended otherwise. */
  readonly failureLatencies: Latencies;
  /** Units by outcome, those before and after the measured time too. */
  readonly outcomes: ReadonlyMap<Outcome, number>;
};

export type ClosedLoad = {
  readonly callers: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly work: Work;
};

export type OpenLoad = {
  readonly perSecond: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly work: Work;
  /** Ends the load before its time. */
  readonly isOver?: () => boolean;
  /** Latencies are also counted by parts of the measured time of this length. */
  readonly partMs?: number;
};

/**
 * Units that wait for an answer at most in an open load; more only say that the measured thing stands still.
 */
const OUTSTANDING_MAX = 200_000;
const TICK_MS = 1;
/** How long the last answers may take. */
const END_TIMEOUT_MS = 60_000;

/**
 * So many callers, each of whom goes on to the next unit when it has its answer: finds the most that can be
 * done.
 */
export async function runClosedLoad({ callers, warmUpMs, durationMs, work }: ClosedLoad): Promise<Load> {
  const tally = createTally(warmUpMs, durationMs);
  const until = tally.to;
  await new Promise<void>((resolve, reject) => {
    let active = callers;
    const timer = setTimeout(
      () => reject(new Error("the last answers did not come")),
      warmUpMs + durationMs + END_TIMEOUT_MS,
    );
    const next = (): void => {
      const startedAt = performance.now();
      if (startedAt < until) {
        work((outcome) => {
          tally.count(outcome, startedAt);
          next();
        });
        return;
      }
      active -= 1;
      if (active > 0) return;
      clearTimeout(timer);
      resolve();
    };
    for (let caller = 0; caller < callers; caller += 1) next();
  });
  return tally.stop();
}

/**
 * So many arrivals a second, whatever the answers: a latency counts from the moment at which the unit was
 * due, so that time spent waiting for a slow one before it is not left out.
 */
export async function runOpenLoad(open: OpenLoad): Promise<Load> {
  const { perSecond, warmUpMs, durationMs, work, isOver = () => false, partMs } = open;
  const tally = createTally(warmUpMs, durationMs, partMs);
  const startedAt = performance.now();
  const until = tally.to;
  const intervalMs = 1_000 / perSecond;
  let sent = 0;
  let outstanding = 0;
  for (let now = startedAt; now < until && !isOver(); now = performance.now()) {
    for (let due = startedAt + sent * intervalMs; due <= now; due = startedAt + sent * intervalMs) {
      sent += 1;
      outstanding += 1;
      if (outstanding > OUTSTANDING_MAX) throw new Error(`${OUTSTANDING_MAX} calls wait for their answers`);
      work((outcome) => {
        outstanding -= 1;
        tally.count(outcome, due);
      });
    }
    await pause(TICK_MS);
  }
  const load = tally.stop();
  const deadline = performance.now() + END_TIMEOUT_MS;
  while (outstanding > 0) {
    if (performance.now() > deadline) throw new Error(`${outstanding} answers did not come`);
    await pause(10);
  }
  return load;
}

function createTally(warmUpMs: number, durationMs: number, partMs?: number) {
  const from = performance.now() + warmUpMs;
  const to = from + durationMs;
  const latencies = noLatencies();
  const failureLatencies = noLatencies();
  const parts = Array.from({ length: partMs ? Math.ceil(durationMs / partMs) : 0 }, noLatencies);
  const outcomes = new Map<Outcome, number>();
  let good = 0;

  // Those due before the measured time are in none.
  function partOf(startedAt: number): Latencies | undefined {
    return partMs ? parts[Math.floor((startedAt - from) / partMs)] : undefined;
  }

  return {
    to,
    count(outcome: Outcome, startedAt: number): void {
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const now = performance.now();
      if (now < from) return;
      // One that was sent in time belongs to the picture, however late its answer.
      addLatency(outcome === OK ? latencies : failureLatencies, now - startedAt);
      const part = outcome === OK ? partOf(startedAt) : undefined;
      if (part) addLatency(part, now - startedAt);
      if (outcome === OK && now <= to) good += 1;
    },
    /** The load up to now; latencies and outcomes that come later are still counted. */
    stop(): Load {
      const seconds = (Math.min(performance.now(), to) - from) / 1_000;
      return { perSecond: good / seconds, seconds, latencies, parts, failureLatencies, outcomes };
    },
  };
}

/** Adds up the units of several loads by outcome. */
export function sumOutcomes(loads: readonly Load[]): Map<Outcome, number> {
  const sum = new Map<Outcome, number>();
  for (const { outcomes } of loads) {
    for (const [outcome, count] of outcomes) sum.set(outcome, (sum.get(outcome) ?? 0) + count);
  }
  return sum;
}
