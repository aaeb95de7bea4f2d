import type { Sql } from "#libs/db";

/**
 * Gathers the statistics of tables that have more than doubled since they were gathered last; returns their
 * names.
 *
 * Plans are kept (see connect.ts). One that was made while a table was nearly empty takes a tenant's rows
 * to be two or three, and goes over all of them to find those of a batch. New statistics make every
 * connection plan anew. Autovacuum gathers them too, but a minute late, and a busy shop has grown a
 * thousandfold by then.
 */
export async function analyzeGrown(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select relname as name
    from pg_class
    where relkind = 'r'
      and relnamespace = current_schema()::regnamespace
      and relname <> 'outbox'
      and pg_relation_size(oid) > 2 * greatest(relpages, 4) * current_setting('block_size')::bigint`;
  for (const { name } of rows) await sql`analyze (skip_locked) ${sql(name)}`;
  return rows.map((row) => row.name);
}
