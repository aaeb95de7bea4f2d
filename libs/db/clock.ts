import type { Sql, Tx } from "./connect.ts";

/** The database's clock: the only one that decides. */
export async function databaseNow(sql: Sql | Tx): Promise<Date> {
  const [row] = await sql<{ now: Date }[]>`select clock_timestamp()::timestamptz(3) as now`;
  if (!row) throw new Error("the database gave no time");
  return row.now;
}

/** What the database's clock said, in milliseconds since 1970, and when this process was told. */
export type ClockReading = {
  readonly time: number;
  /** In milliseconds of performance.now(). */
  readonly toldAt: number;
};

/** A time that the database has just told. */
export function readClock(time: number): ClockReading {
  return { time, toldAt: performance.now() };
}

/**
 * What the database's clock says by now, without asking it again: a reading of a moment ago, carried on by
 * this process's steady clock, which nobody sets. It is behind by as long as the reading took to come, and
 * never ahead.
 */
export function timeSince({ time, toldAt }: ClockReading): number {
  return time + Math.floor(performance.now() - toldAt);
}
