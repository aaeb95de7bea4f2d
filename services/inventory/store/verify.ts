import { inTransaction, names, type Sql, type Tx } from "#libs/db";
import { MAX_DIFFERENCES } from "../domain/limits.ts";

export type DifferenceType = "CHAIN_GAP" | "CHAIN_BREAK" | "LEVEL" | "RESERVATIONS";

/** A disagreement; `expected` and `actual` are for a person. */
export type Difference = {
  readonly type: DifferenceType;
  readonly sku: string;
  readonly locationId: string;
  readonly version: number;
  readonly expected: string;
  readonly actual: string;
};

export type Verification = { readonly levelsChecked: number; readonly differences: readonly Difference[] };

type VerifyRow = {
  readonly sku: string;
  readonly location_id: string;
  readonly fault_version: bigint | null;
  readonly version_before: bigint | null;
  readonly on_hand_expected: number | null;
  readonly reserved_expected: number | null;
  readonly fault_on_hand: number | null;
  readonly fault_reserved: number | null;
  readonly last_version: bigint;
  readonly last_on_hand: number;
  readonly last_reserved: number;
  readonly version: bigint | null;
  readonly on_hand: number | null;
  readonly reserved: number | null;
  readonly promised: bigint;
};

/** Items a statement: each statement is a snapshot of its own, short enough to be given up between two. */
const ITEMS_A_STATEMENT = 200;
/** The ledger of one hot item may be millions of rows, a few seconds a million. */
const STATEMENT_TIMEOUT_MS = 600_000;

/** Who waits for a verification, and until when (in milliseconds of performance.now()). */
export type Verifier = { readonly deadline: number; isAbandoned(): boolean };

const patient: Verifier = { deadline: Number.POSITIVE_INFINITY, isAbandoned: () => false };

/**
 * Recomputes the counters of a tenant's items (of these only, if any are given) from the ledger and the
 * live reservations, and tells the first disagreement of each level. Each level is judged in one snapshot.
 * Stops early when nobody waits for it any more, at the latest at the deadline, and at the most differences
 * that are told.
 */
export async function verifyStock(
  sql: Sql,
  tenant: string,
  skus: readonly string[],
  verifier: Verifier = patient,
): Promise<Verification> {
  let levelsChecked = 0;
  const differences: Difference[] = [];
  let after: string | undefined = "";
  while (after !== undefined && !verifier.isAbandoned()) {
    const page: string[] = await nextItems(sql, tenant, skus, after);
    const rows = page.length === 0 ? [] : await verifyItems(sql, tenant, page, verifier.deadline);
    levelsChecked += rows.length;
    for (const row of rows) differences.push(...differencesOf(row));
    if (differences.length >= MAX_DIFFERENCES) break;
    after = page.length < ITEMS_A_STATEMENT ? undefined : page.at(-1);
  }
  return { levelsChecked, differences: differences.slice(0, MAX_DIFFERENCES) };
}

async function nextItems(
  sql: Sql,
  tenant: string,
  skus: readonly string[],
  after: string,
): Promise<string[]> {
  const rows = await sql<{ sku: string }[]>`
    select sku
    from items
    where tenant_id = ${tenant}
      and sku > ${after}
      ${skus.length === 0 ? sql`` : sql`and sku = any(${names(skus)}::text[])`}
    order by sku
    limit ${ITEMS_A_STATEMENT}`;
  return rows.map((row) => row.sku);
}

async function verifyItems(
  sql: Sql,
  tenant: string,
  skus: readonly string[],
  deadline: number,
): Promise<VerifyRow[]> {
  return await inTransaction(
    sql,
    async (tx) => {
      const timeLeftMs = Math.max(1, Math.ceil(deadline - performance.now()));
      // Here whole ledgers are read, and what is joined is as large as they are.
      await tx`
        select
          set_config('enable_hashjoin', 'on', true),
          set_config('enable_mergejoin', 'on', true),
          set_config('enable_material', 'on', true),
          set_config('statement_timeout', ${String(Math.min(timeLeftMs, STATEMENT_TIMEOUT_MS))}, true)`;
      return await selectVerdicts(tx, tenant, names(skus));
    },
    { mode: "isolation level repeatable read read only" },
  );
}

async function selectVerdicts(tx: Tx, tenant: string, skus: string): Promise<VerifyRow[]> {
  return await tx<VerifyRow[]>`
    with ${ledgerOf(tx, tenant, skus)},
    levels as (
      select sku, location_id, version, on_hand, reserved
      from stock_levels
      where tenant_id = ${tenant}
        and sku = any(${skus}::text[])
        and version > 0
    ),
    promises as (
      select sku, location_id, sum(quantity) as promised
      from reservation_lines
      where tenant_id = ${tenant}
        and sku = any(${skus}::text[])
      group by sku, location_id
    ),
    places as (
      select sku, location_id from latest
      union
      select sku, location_id from levels
      union
      select sku, location_id from promises
    )
    select
      place.sku, place.location_id,
      fault.version as fault_version, fault.version_before, fault.on_hand_expected, fault.reserved_expected,
      fault.on_hand_after as fault_on_hand, fault.reserved_after as fault_reserved,
      coalesce(latest.version, 0) as last_version,
      coalesce(latest.on_hand_after, 0) as last_on_hand,
      coalesce(latest.reserved_after, 0) as last_reserved,
      level.version, level.on_hand, level.reserved,
      coalesce(promise.promised, 0) as promised
    from places as place
    left join faults as fault on fault.sku = place.sku and fault.location_id = place.location_id
    left join latest on latest.sku = place.sku and latest.location_id = place.location_id
    left join levels as level on level.sku = place.sku and level.location_id = place.location_id
    left join promises as promise on promise.sku = place.sku and promise.location_id = place.location_id
    order by place.sku, place.location_id`;
}

// The chain of a level begins at its balance, if its oldest movements were taken out of use. A level of
// version 0 has had no movement and is not counted.
function ledgerOf(tx: Tx, tenant: string, skus: string) {
  return tx`
    steps as (
      select
        movement.sku, movement.location_id, movement.version, movement.on_hand_after, movement.reserved_after,
        coalesce(lag(movement.version) over chain, balance.version, 0) as version_before,
        coalesce(lag(movement.on_hand_after) over chain, balance.on_hand_after, 0) + movement.on_hand_delta
          as on_hand_expected,
        coalesce(lag(movement.reserved_after) over chain, balance.reserved_after, 0) + movement.reserved_delta
          as reserved_expected
      from movements as movement
      left join balances as balance
        on balance.tenant_id = movement.tenant_id
        and balance.sku = movement.sku
        and balance.location_id = movement.location_id
      where movement.tenant_id = ${tenant}
        and movement.sku = any(${skus}::text[])
        and movement.version > coalesce(balance.version, 0)
      window chain as (partition by movement.sku, movement.location_id order by movement.version)
    ),
    faults as (
      select distinct on (sku, location_id) *
      from steps
      where version <> version_before + 1
        or on_hand_after <> on_hand_expected
        or reserved_after <> reserved_expected
      order by sku, location_id, version
    ),
    latest as (
      select distinct on (sku, location_id) sku, location_id, version, on_hand_after, reserved_after
      from (
        select sku, location_id, version, on_hand_after, reserved_after
        from steps
        union all
        select sku, location_id, version, on_hand_after, reserved_after
        from balances
        where tenant_id = ${tenant}
          and sku = any(${skus}::text[])
      ) as known
      order by sku, location_id, version desc
    )`;
}

function differencesOf(row: VerifyRow): Difference[] {
  const place = { sku: row.sku, locationId: row.location_id };
  if (row.fault_version !== null) return [{ ...place, ...faultOf(row, row.fault_version) }];
  const version = Number(row.version ?? 0);
  const level = `on_hand ${row.on_hand ?? 0}, reserved ${row.reserved ?? 0}, version ${version}`;
  const ledger = `on_hand ${row.last_on_hand}, reserved ${row.last_reserved}, version ${row.last_version}`;
  if (level !== ledger) return [{ ...place, type: "LEVEL", version, expected: ledger, actual: level }];
  if (row.promised === BigInt(row.reserved ?? 0)) return [];
  const expected = `reserved ${row.promised}, the sum of the live reservations`;
  return [{ ...place, type: "RESERVATIONS", version, expected, actual: `reserved ${row.reserved ?? 0}` }];
}

function faultOf(
  row: VerifyRow,
  fault: bigint,
): Pick<Difference, "type" | "version" | "expected" | "actual"> {
  const version = Number(fault);
  const due = Number(row.version_before) + 1;
  if (version !== due) {
    return { type: "CHAIN_GAP", version, expected: `version ${due}`, actual: `version ${version}` };
  }
  return {
    type: "CHAIN_BREAK",
    version,
    expected: `on_hand ${row.on_hand_expected}, reserved ${row.reserved_expected}`,
    actual: `on_hand ${row.fault_on_hand}, reserved ${row.fault_reserved}`,
  };
}
