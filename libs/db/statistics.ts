import type { Sql } from "./connect.ts";

/** Rows below which no plan is bad enough to matter. */
const FEW_ROWS = 1_000;
/** Pages below which a table's size says nothing. */
const FEW_PAGES = 4;

/**
 * Gathers the statistics of tables that have more than doubled since they were gathered last; returns their
 * names.
 *
 * Plans are kept by the services, and one that was made while a table was nearly empty takes a tenant's rows
 * to be two or three, and goes over all of them to find those of a batch: with 20,000 orders a batch took 2 s
 * instead of 10 ms. New statistics make every connection plan anew. Autovacuum gathers them too, but a minute
 * late, and a busy shop has grown a thousandfold by then.
 *
 * A table has grown by its size on disk, or by the rows that were counted as they were committed: statistics
 * that were gathered while a large import was under way know its pages, but not one of its rows.
 */
export async function analyzeGrown(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select relname as name
    from pg_class
    where relkind = 'r'
      and relnamespace = current_schema()::regnamespace
      -- It is empty most of the time, and its statements are planned each time.
      and relname <> 'outbox'
      and (
        pg_relation_size(oid)
          > 2 * greatest(relpages, ${FEW_PAGES}) * current_setting('block_size')::bigint
        or pg_stat_get_live_tuples(oid) > 2 * greatest(reltuples, ${FEW_ROWS})
      )`;
  for (const { name } of rows) await sql`analyze (skip_locked) ${sql(name)}`;
  return rows.map((row) => row.name);
}
