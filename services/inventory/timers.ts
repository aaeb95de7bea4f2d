/**
 * What time starts: the sweeper, asking after outcomes, partitions for the months to come, statistics, and
 * tidying.
 */
import type { Logger } from "pino";
import { type Loop, startLoop } from "#libs/boot";
import { analyzeGrown, type Sql } from "#libs/db";
import type { Expiry } from "./expiry.ts";
import type { Outcomes } from "./outcomes.ts";
import { ensurePartitions } from "./store/partitions.ts";
import { deleteOldRequests } from "./store/requests.ts";
import { deleteOldNudges, retireTombstones } from "./store/upkeep.ts";

export type TimersParts = {
  readonly sql: Sql;
  readonly expiry: Expiry;
  readonly outcomes: Outcomes;
  /** Whether this process sweeps. */
  readonly sweeper: boolean;
  readonly log: Logger;
};

/** With the grace that is left to the nudges, what nobody nudged is expired within 4 s of its time. */
const SWEEP_INTERVAL_MS = 2_000;
const TIDY_INTERVAL_MS = 60_000;
/** Rows a round: a transaction of some 10 ms. */
const TIDY_BATCH = 1_000;
/** As often as tables can double while they are small. */
const STATISTICS_INTERVAL_MS = 1_000;
/** Partitions are made three months ahead, so once an hour is often. */
const PARTITIONS_INTERVAL_MS = 3_600_000;
/** An outcome that was lost is lost for long already: no hurry. */
const OUTCOMES_INTERVAL_MS = 24 * 3_600_000;

/** Starts the loops of a process. Each may run in any number of processes. */
export function startTimers({ sql, expiry, outcomes, sweeper, log }: TimersParts): Loop {
  const loops = [
    startLoop({
      name: "partitions",
      intervalMs: PARTITIONS_INTERVAL_MS,
      log,
      work: async () => {
        const made = await ensurePartitions(sql);
        if (made.length > 0) log.info({ made }, "partitions were made");
        return false;
      },
    }),
    startLoop({
      name: "statistics",
      intervalMs: STATISTICS_INTERVAL_MS,
      log,
      work: async () => {
        const grown = await analyzeGrown(sql);
        if (grown.length > 0) log.debug({ grown }, "statistics were gathered");
        return false;
      },
    }),
    startLoop({
      name: "outcomes",
      intervalMs: OUTCOMES_INTERVAL_MS,
      log,
      work: async () => {
        await outcomes.askLate();
        return false;
      },
    }),
    startLoop({ name: "tidying", intervalMs: TIDY_INTERVAL_MS, log, work: () => tidy(sql) }),
  ];
  if (sweeper) {
    loops.push(startLoop({ name: "sweeper", intervalMs: SWEEP_INTERVAL_MS, log, work: expiry.sweep }));
  }
  return {
    stop: async () => {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

async function tidy(sql: Sql): Promise<boolean> {
  const requests = await deleteOldRequests(sql, TIDY_BATCH);
  const nudges = await deleteOldNudges(sql, TIDY_BATCH);
  const tombstones = await retireTombstones(sql, TIDY_BATCH);
  return Math.max(requests, nudges, tombstones) === TIDY_BATCH;
}
