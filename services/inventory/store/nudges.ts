import { type Tx, times } from "#libs/db";

/** The seconds for which this process knows that a nudge is written, so that most batches need not ask. */
export type KnownNudges = {
  has(tenant: string, dueSecond: number): boolean;
  /** Told after the commit. */
  add(tenant: string, dueSeconds: readonly number[]): void;
};

/** A day of seconds; what is forgotten is only asked for again. */
const MAX_KNOWN = 100_000;

/** Remembers nudges for one process. */
export function createKnownNudges(): KnownNudges {
  const known = new Set<string>();
  const nameOf = (tenant: string, dueSecond: number) => `${dueSecond}/${tenant}`;
  return {
    has: (tenant, dueSecond) => known.has(nameOf(tenant, dueSecond)),
    add: (tenant, dueSeconds) => {
      if (known.size > MAX_KNOWN) known.clear();
      for (const second of dueSeconds) known.add(nameOf(tenant, second));
    },
  };
}

/** Claims the nudges of these seconds and returns those that nobody had claimed: the caller sends them. */
export async function claimNudges(tx: Tx, tenant: string, dueSeconds: readonly number[]): Promise<number[]> {
  if (dueSeconds.length === 0) return [];
  const sorted = [...dueSeconds].sort((one, other) => one - other);
  const rows = await tx<{ due_second: Date }[]>`
    insert into nudges (tenant_id, due_second)
    select ${tenant}, due_second
    from unnest(${times(sorted)}::timestamptz[]) as due_second
    on conflict do nothing
    returning due_second`;
  return rows.map((row) => row.due_second.getTime());
}
