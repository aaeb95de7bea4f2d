import type { TestSystem } from "./testing.ts";

/** How many rows each table has, but for those that come and go by themselves. */
export async function countRows(system: TestSystem): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [name, sql] of [
    ["order", system.orderDatabase],
    ["inventory", system.inventoryDatabase],
  ] as const) {
    const tables = await sql<{ table: string }[]>`
      select relname as table
      from pg_class
      where relnamespace = 'public'::regnamespace
        and relkind in ('r', 'p')
        and not relispartition
        and relname not in ('outbox', 'nudges')
      order by relname`;
    for (const { table } of tables) {
      const [row] = await sql<{ rows: number }[]>`select count(*)::int as rows from ${sql(table)}`;
      counts[`${name}.${table}`] = row?.rows ?? 0;
    }
  }
  return counts;
}
