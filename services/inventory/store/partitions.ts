import postgres from "postgres";
import type { Sql } from "#libs/db";

/** The tables that grow for ever: one partition a month (UTC), `movements_2026_11`. */
export const partitioned = ["movements", "ended_reservations"] as const;

export type Partition = {
  readonly table: (typeof partitioned)[number];
  readonly name: string;
  /** Rows from here, inclusive. */
  readonly from: Date;
  /** Rows to here, exclusive. */
  readonly to: Date;
  /** Whether somebody began to detach it and was stopped: its rows are not read any more. */
  readonly isHalfDetached: boolean;
};

/** This month, and as many more: time enough to notice that none are made any more. */
const MONTHS_AHEAD = 3;

/**
 * Makes the partitions of this month and the next ones, where they are missing. A partition is made as a
 * table of its own and then attached, which locks nothing that reads or writes the others. Several
 * instances may do it at once.
 */
export async function ensurePartitions(sql: Sql): Promise<string[]> {
  const [clock] = await sql<{ now: Date }[]>`select clock_timestamp()::timestamptz(3) as now`;
  if (!clock) throw new Error("the database gave no time");
  const attached = new Set((await listPartitions(sql)).map((partition) => partition.name));
  const made: string[] = [];
  // One month behind too: a clock that is set back a little must find a place for what it writes.
  for (let offset = -1; offset <= MONTHS_AHEAD; offset += 1) {
    for (const table of partitioned) {
      const partition = partitionOf(table, clock.now, offset);
      if (attached.has(partition.name)) continue;
      await attach(sql, partition);
      made.push(partition.name);
    }
  }
  return made;
}

/** The partitions that are attached, oldest first. */
export async function listPartitions(sql: Sql): Promise<Partition[]> {
  const rows = await sql<{ table: Partition["table"]; name: string; is_half_detached: boolean }[]>`
    select parent.relname as table, child.relname as name, inhdetachpending as is_half_detached
    from pg_inherits
    join pg_class as parent on parent.oid = pg_inherits.inhparent
    join pg_class as child on child.oid = pg_inherits.inhrelid
    where parent.oid in ('movements'::regclass, 'ended_reservations'::regclass)
    order by child.relname`;
  return rows.map(({ table, name, is_half_detached: isHalfDetached }) => {
    const [year = 0, month = 0] = name
      .slice(table.length + 1)
      .split("_")
      .map(Number);
    return { table, name, from: monthAt(year, month - 1), to: monthAt(year, month), isHalfDetached };
  });
}

function partitionOf(table: Partition["table"], now: Date, offset: number): Partition {
  const from = monthAt(now.getUTCFullYear(), now.getUTCMonth() + offset);
  const to = monthAt(from.getUTCFullYear(), from.getUTCMonth() + 1);
  const name = `${table}_${from.toISOString().slice(0, 7).replace("-", "_")}`;
  return { table, name, from, to, isHalfDetached: false };
}

function monthAt(year: number, month: number): Date {
  return new Date(Date.UTC(year, month, 1));
}

async function attach(sql: Sql, { table, name, from, to }: Partition): Promise<void> {
  await makeTable(sql, table, name);
  try {
    // Bounds of a partition can't be parameters.
    await sql.unsafe(`
      alter table ${table}
      attach partition ${name}
      for values from ('${from.toISOString()}') to ('${to.toISOString()}')`);
  } catch (error) {
    const attached = await listPartitions(sql);
    if (!attached.some((partition) => partition.name === name)) throw error;
  }
}

/** Two who make the same table at once: `if not exists` does not see the other's before it is committed. */
const madeMeanwhile = new Set(["23505", "42710", "42P07"]);

async function makeTable(sql: Sql, table: Partition["table"], name: string): Promise<void> {
  try {
    await sql`create table if not exists ${sql(name)} (like ${sql(table)} including all)`;
  } catch (error) {
    if (!(error instanceof postgres.PostgresError && madeMeanwhile.has(error.code))) throw error;
  }
}
