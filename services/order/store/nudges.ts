import { type Fragment, type Sql, type Tx, times } from "#libs/db";
import type { OutboxMessage } from "#libs/events";

/**
 * Notes the seconds of nudges and returns, in milliseconds since 1970, those that nobody had noted: the
 * caller writes their nudges in the same transaction. Waits for others who are about to note the same ones;
 * all note them in the order of time.
 */
export async function insertNudges(
  tx: Tx,
  tenant: string,
  nudges: readonly OutboxMessage[],
): Promise<Set<number>> {
  if (nudges.length === 0) return new Set();
  const rows = await tx<{ due_time: Date }[]>`${nudgesInsertion(tx, tenant, nudges)}`;
  return new Set(rows.map((row) => row.due_time.getTime()));
}

/** The statement of insertNudges, for a part of another one, which may have a condition. */
export function nudgesInsertion(
  sql: Sql | Tx,
  tenant: string,
  nudges: readonly OutboxMessage[],
  condition: Fragment = sql`true`,
): Fragment {
  return sql`
    insert into nudges (tenant_id, due_time)
    select ${tenant}, due_time
    from unnest(${times(nudges.map(dueTimeOf))}::timestamptz[]) as due (due_time)
    where ${condition}
    order by due_time
    on conflict do nothing
    returning due_time`;
}

/** When a nudge is to come. */
export function dueTimeOf({ nudge }: OutboxMessage): number | undefined {
  return nudge?.dueTime.getTime();
}

/** Forgets seconds that have been past for `keptMs`, at most `limit`; returns how many it forgot. */
export async function deleteOldNudges(sql: Sql, keptMs: number, limit: number): Promise<number> {
  const deleted = await sql`
    delete from nudges
    where (tenant_id, due_time) in (
      select tenant_id, due_time
      from nudges
      where due_time < now() - ${keptMs} * interval '1 millisecond'
      limit ${limit}
    )`;
  return deleted.count;
}
