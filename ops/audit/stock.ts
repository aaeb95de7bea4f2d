/**
 * Recomputes the counters from the ledger and the live reservations with statements of its own, so that a
 * fault in VerifyStock does not hide one in the stock.
 */
import type postgres from "postgres";
import { inTransaction, type Sql, type Tx } from "#libs/db";
import type { Finding } from "./finding.ts";

type LevelRow = {
  readonly sku: string;
  readonly location_id: string;
  /** Null where the ledger or a reservation knows a level that is not there. */
  readonly version: bigint | null;
  readonly on_hand: number | null;
  readonly reserved: number | null;
  readonly movements: bigint;
  readonly broken_at: bigint | null;
  readonly ledger_version: bigint;
  readonly ledger_on_hand: bigint;
  readonly ledger_reserved: bigint;
  readonly promised: bigint;
  readonly strays: bigint;
};

export type StockAudit = {
  readonly levels: number;
  readonly movements: number;
  readonly findings: Finding[];
};

/** Levels a statement: a snapshot of its own, in which counters, ledger and reservations belong together. */
const PAGE_LEVELS = 100;

type Place = { readonly sku: string; readonly location_id: string };

/** Recomputes all levels of a tenant, and tells the first thing that is wrong of each. */
export async function auditStock(sql: Sql, tenant: string): Promise<StockAudit> {
  let levels = 0;
  let movements = 0;
  const findings: Finding[] = [];
  let after: Place | undefined = { sku: "", location_id: "" };
  while (after !== undefined) {
    const from: Place = after;
    const rows: LevelRow[] = await inTransaction(sql, (tx) => recompute(tx, tenant, from), {
      mode: "isolation level repeatable read read only",
    });
    for (const row of rows) {
      levels += 1;
      movements += Number(row.movements);
      findings.push(...findingsOf(tenant, row));
    }
    after = rows.length < PAGE_LEVELS ? undefined : rows.at(-1);
  }
  return { levels, movements, findings };
}

// A chain begins at its balance where its oldest movements were taken out of use.
async function recompute(tx: Tx, tenant: string, after: Place): Promise<LevelRow[]> {
  return await tx<LevelRow[]>`
    with recursive ${placesAfter(tx, tenant, after)}
    select
      place.sku, place.location_id, level.version, level.on_hand, level.reserved,
      ledger.movements, ledger.broken_at,
      coalesce(balance.version, 0) + ledger.movements as ledger_version,
      coalesce(balance.on_hand_after, 0) + ledger.on_hand as ledger_on_hand,
      coalesce(balance.reserved_after, 0) + ledger.reserved as ledger_reserved,
      kept.promised, kept.strays
    from places as place
    left join stock_levels as level
      on level.tenant_id = ${tenant}
      and level.sku = place.sku
      and level.location_id = place.location_id
    left join balances as balance
      on balance.tenant_id = ${tenant}
      and balance.sku = place.sku
      and balance.location_id = place.location_id
    cross join lateral (${ledgerOfPlace(tx, tenant)}) as ledger
    cross join lateral (${promisesOfPlace(tx, tenant)}) as kept
    order by place.sku, place.location_id`;
}

// From the counters, the ledger and the reservations alike, each leaping along its key, so that a row that is
// missing in one of them shows.
function placesAfter(tx: Tx, tenant: string, { sku, location_id }: Place): postgres.Fragment {
  const leap = (table: string, name: string) => tx`
    ${tx(name)} as (
      select ${sku}::text collate "C" as sku, ${location_id}::text collate "C" as location_id, 0 as number
      union all
      select next.sku, next.location_id, last.number + 1
      from ${tx(name)} as last
      cross join lateral (
        select entry.sku, entry.location_id
        from ${tx(table)} as entry
        where entry.tenant_id = ${tenant}
          and (entry.sku, entry.location_id) > (last.sku, last.location_id)
        order by entry.sku, entry.location_id
        limit 1
      ) as next
      where last.number < ${PAGE_LEVELS}
    )`;
  return tx`
    ${leap("movements", "moved")},
    ${leap("reservation_lines", "promised")},
    counted as (
      select sku, location_id
      from stock_levels
      where tenant_id = ${tenant}
        and (sku, location_id) > (${sku}, ${location_id})
      order by sku, location_id
      limit ${PAGE_LEVELS}
    ),
    places as (
      select sku, location_id from counted
      union
      select sku, location_id from moved where number > 0
      union
      select sku, location_id from promised where number > 0
      order by sku, location_id
      limit ${PAGE_LEVELS}
    )`;
}

function ledgerOfPlace(tx: Tx, tenant: string): postgres.Fragment {
  return tx`
    select
      count(*) as movements,
      coalesce(sum(on_hand_delta), 0)::bigint as on_hand,
      coalesce(sum(reserved_delta), 0)::bigint as reserved,
      min(version) filter (
        where version <> coalesce(balance.version, 0) + number
          or on_hand_after <> coalesce(balance.on_hand_after, 0) + on_hand_so_far
          or reserved_after <> coalesce(balance.reserved_after, 0) + reserved_so_far
      ) as broken_at
    from (
      select
        version, on_hand_delta, reserved_delta, on_hand_after, reserved_after,
        row_number() over chain as number,
        sum(on_hand_delta) over chain as on_hand_so_far,
        sum(reserved_delta) over chain as reserved_so_far
      from movements
      where tenant_id = ${tenant}
        and sku = place.sku
        and location_id = place.location_id
        and version > coalesce(balance.version, 0)
      window chain as (order by version rows unbounded preceding)
    ) as chain`;
}

function promisesOfPlace(tx: Tx, tenant: string): postgres.Fragment {
  return tx`
    select
      coalesce(sum(line.quantity) filter (where reservation.state = 'ACTIVE'), 0)::bigint as promised,
      count(*) filter (where reservation.state is distinct from 'ACTIVE') as strays
    from reservation_lines as line
    left join reservations as reservation
      on reservation.tenant_id = ${tenant}
      and reservation.reservation_id = line.reservation_id
    where line.tenant_id = ${tenant}
      and line.sku = place.sku
      and line.location_id = place.location_id`;
}

function findingsOf(tenant: string, row: LevelRow): Finding[] {
  const subject = `stock ${tenant}/${row.sku}/${row.location_id}`;
  if (row.broken_at !== null) {
    const detail = `the ledger breaks at version ${row.broken_at}: the row before is gone or contradicts it`;
    return [{ kind: "LEDGER_BROKEN", subject, detail }];
  }
  const counters = nameCounters(row.on_hand ?? 0, row.reserved ?? 0, row.version ?? 0);
  const ledger = nameCounters(row.ledger_on_hand, row.ledger_reserved, row.ledger_version);
  if (counters !== ledger) {
    const is = row.version === null ? "the level is not there" : `the counters say ${counters}`;
    return [{ kind: "COUNTERS_DISAGREE", subject, detail: `${is}, the ledger comes to ${ledger}` }];
  }
  if (Number(row.promised) !== (row.reserved ?? 0) || Number(row.strays) > 0) {
    const strays = Number(row.strays) > 0 ? `, and ${row.strays} lines are of none that lives` : "";
    const detail = `reserved ${row.reserved ?? 0}, the live reservations sum up to ${row.promised}${strays}`;
    return [{ kind: "RESERVED_DISAGREES", subject, detail }];
  }
  return [];
}

function nameCounters(onHand: number | bigint, reserved: number | bigint, version: number | bigint): string {
  return `on_hand ${onHand}, reserved ${reserved}, version ${version}`;
}
