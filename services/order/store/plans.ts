import type { Sql } from "#libs/db";

/**
 * Gathers the statistics of tables that have more than doubled since they were gathered last; returns how
 * many.
 *
 * Plans are kept (see connect.ts), and one that was made while a table was empty may walk all orders of a
 * tenant, because then every index looks alike: with 20,000 orders a batch took 2 s instead of 10 ms. New
 * statistics make every connection plan anew. Autovacuum gathers them too, but only once a minute; a busy
 * shop is past that point in seconds.
 */
export async function analyzeGrown(sql: Sql): Promise<number> {
  const rows = await sql<{ name: string }[]>`
    select relname as name
    from pg_class
    where oid = any(array['orders', 'order_lines', 'order_history', 'requests']::regclass[])
      and pg_relation_size(oid) > 2 * greatest(relpages, 4) * current_setting('block_size')::bigint`;
  for (const { name } of rows) await sql`analyze ${sql(name)}`;
  return rows.length;
}
