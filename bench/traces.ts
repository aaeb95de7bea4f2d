/** What work leaves behind: in the statistics of the databases, and in the outboxes. */
import type { Ground } from "./ground.ts";

/**
 * Transactions that both databases have committed so far, reads too, as far as their connections have told.
 */
export async function committedTransactions(ground: Ground): Promise<number> {
  const [row] = await ground.orderSql<{ committed: bigint }[]>`
    select sum(xact_commit)::bigint as committed
    from pg_stat_database
    where datname in ('holdfast_order', 'holdfast_inventory')`;
  return Number(row?.committed ?? 0);
}

/** Whether all that either service had to say is with the broker. */
export async function outboxesEmpty(ground: Ground): Promise<boolean> {
  const counts = await Promise.all(
    [ground.orderSql, ground.inventorySql].map(
      (sql) => sql<{ waiting: boolean }[]>`select exists (select from outbox) as waiting`,
    ),
  );
  return counts.every(([row]) => row?.waiting === false);
}
