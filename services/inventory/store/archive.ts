import { inTransaction, type Sql } from "#libs/db";
import { tenantsWithStock } from "./locations.ts";
import { listPartitions, type Partition } from "./partitions.ts";
import { verifyStock } from "./verify.ts";

/** What was taken out of use: the names of tables that stand alone now, to be dumped and dropped. */
export type Archived = { readonly detached: readonly string[] };

/**
 * Takes the partitions of months that ended more than `months` ago out of use, oldest first. What the
 * movements of a month came to is kept in `balances` first, so that VerifyStock still holds. The living are
 * not locked; it waits for those who read such a month, for as long as any statement waits for a lock. It can
 * be stopped and begun again at any point. Throws if the ledger does not agree, and
 * takes nothing out then.
 */
export async function archive(sql: Sql, months: number): Promise<Archived> {
  const old = await oldPartitions(sql, months);
  if (old.some((partition) => partition.table === "movements")) await refuseInconsistent(sql);
  const detached: string[] = [];
  for (const partition of old) {
    if (partition.table === "movements") await keepBalances(sql, partition);
    const way = partition.isHalfDetached ? "finalize" : "concurrently";
    await sql.unsafe(`alter table ${partition.table} detach partition ${partition.name} ${way}`);
    detached.push(partition.name);
  }
  return { detached };
}

async function oldPartitions(sql: Sql, months: number): Promise<Partition[]> {
  const [row] = await sql<{ before: Date }[]>`
    select (date_trunc('month', now(), 'UTC') - ${months} * interval '1 month')::timestamptz(3) as before`;
  if (!row) throw new Error("the database gave no time");
  return (await listPartitions(sql)).filter(({ to }) => to.getTime() <= row.before.getTime());
}

async function refuseInconsistent(sql: Sql): Promise<void> {
  for (const tenant of await tenantsWithStock(sql)) {
    const { differences } = await verifyStock(sql, tenant, []);
    const [first] = differences;
    if (!first) continue;
    throw new Error(
      `the ledger of ${tenant} disagrees at ${first.sku} in ${first.locationId}, ` +
        `version ${first.version}: ${first.type}, expected ${first.expected}, found ${first.actual}; ` +
        "nothing was taken out of use",
    );
  }
}

// Within a chain time and version run together, so the newest of a month is the last of all up to it.
async function keepBalances(sql: Sql, { from, to }: Partition): Promise<void> {
  await inTransaction(sql, async (tx) => {
    await tx`
      insert into balances (
        tenant_id, sku, location_id, version, on_hand_after, reserved_after, create_time
      )
      select distinct on (tenant_id, sku, location_id)
        tenant_id, sku, location_id, version, on_hand_after, reserved_after, create_time
      from movements
      where create_time >= ${from}
        and create_time < ${to}
      order by tenant_id, sku, location_id, version desc
      on conflict (tenant_id, sku, location_id) do update
      set
        version = excluded.version,
        on_hand_after = excluded.on_hand_after,
        reserved_after = excluded.reserved_after,
        create_time = excluded.create_time
      where balances.version < excluded.version`;
  });
}
