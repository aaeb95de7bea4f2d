/** What time starts: the sweeper, the recovery of placements that were cut short, and tidying. */
import type { Logger } from "pino";
import { startLoop } from "#libs/boot";
import { analyzeGrown, type Sql } from "#libs/db";
import { limits } from "./domain/limits.ts";
import type { Expiry } from "./expiry.ts";
import { deleteOldNudges } from "./store/nudges.ts";
import { deleteOldRequests } from "./store/requests.ts";

export type TimersParts = {
  readonly sql: Sql;
  readonly expiry: Expiry;
  readonly sweeper: boolean;
  readonly recoveryAfterMs: number;
  readonly log: Logger;
};

/** Starts the loops of a process. Each may run in any number of processes. */
export function startTimers({ sql, expiry, sweeper, recoveryAfterMs, log }: TimersParts) {
  const sweeping = {
    name: "sweeper",
    intervalMs: limits.sweepIntervalMs,
    log,
    work: async () => {
      await expiry.sweep();
      return false;
    },
  };
  const recovering = {
    name: "recovery",
    intervalMs: limits.recoveryIntervalMs,
    log,
    work: async () => {
      await expiry.recover(recoveryAfterMs);
      return false;
    },
  };
  const tidying = {
    name: "tidying",
    intervalMs: limits.tidyIntervalMs,
    log,
    work: async () => {
      const nudges = await deleteOldNudges(sql, limits.nudgesKeptMs, limits.tidyBatch);
      const requests = await deleteOldRequests(sql, limits.requestsKeptMs, limits.tidyBatch);
      return Math.max(nudges, requests) === limits.tidyBatch;
    },
  };
  const analyzing = {
    name: "statistics",
    intervalMs: limits.analyzeIntervalMs,
    log,
    work: async () => {
      await analyzeGrown(sql);
      return false;
    },
  };
  const loops = [...(sweeper ? [sweeping] : []), recovering, tidying, analyzing].map(startLoop);
  return {
    /** Resolves when the rounds under way have ended. */
    stop: async () => {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
