import { type Sql, type Tx, times } from "#libs/db";

/**
 * Notes the seconds at which orders fall due and returns those that nobody had noted: the caller writes their
 * nudges in the same transaction. Waits for others who are about to note the same ones; all note them in the
 * order of time.
 */
export async function insertNudges(tx: Tx, tenant: string, dueTimes: readonly number[]): Promise<number[]> {
  if (dueTimes.length === 0) return [];
  const rows = await tx<{ due_time: Date }[]>`
    insert into nudges (tenant_id, due_time)
    select ${tenant}, due_time
    from unnest(${times(dueTimes)}::timestamptz[]) as due (due_time)
    order by due_time
    on conflict do nothing
    returning due_time`;
  return rows.map((row) => row.due_time.getTime());
}

/** Forgets seconds that have been past for `keptMs`; returns how many. */
export async function deleteOldNudges(sql: Sql, keptMs: number): Promise<number> {
  const deleted = await sql`
    delete from nudges
    where due_time < now() - ${keptMs} * interval '1 millisecond'`;
  return deleted.count;
}
