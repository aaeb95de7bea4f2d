/** What an audit reads of the reservations in Inventory's database. */
import type postgres from "postgres";
import type { Sql } from "#libs/db";
import type { Line, ReservationFacts, ReservationState } from "./agreement.ts";

type ReservationRow = {
  readonly reservation_id: string;
  readonly order_id: string;
  readonly state: ReservationState;
  readonly lines: readonly (Omit<Line, "locationId"> & { readonly location_id: string })[];
  readonly lines_are_kept: boolean;
  readonly unchanged_ms: number;
};

/** Reservations a statement, as with orders. */
const PAGE_RESERVATIONS = 2_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/** The tenants that have stock; leaps from one to the next. */
export async function tenantsOfStock(sql: Sql): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    with recursive tenants as (
      select min(tenant_id) as tenant_id
      from items
      union all
      select (select min(items.tenant_id) from items where items.tenant_id > tenants.tenant_id)
      from tenants
      where tenants.tenant_id is not null
    )
    select tenant_id
    from tenants
    where tenant_id is not null`;
  return rows.map((row) => row.tenant_id);
}

/** All reservations of a tenant that belong to orders, living and ended, by ascending id. */
export async function* walkReservations(
  sql: Sql,
  tenant: string,
): AsyncGenerator<ReservationFacts, undefined> {
  let after = FIRST_ID;
  for (;;) {
    // Each half by its own index and to its own limit; what is beyond it comes with the next page.
    const page = sql`
      and reservation_id > ${after}
      and owner like 'orders/%'
      order by reservation_id
      limit ${PAGE_RESERVATIONS}`;
    const rows = await selectReservations(sql, tenant, page, sql`limit ${PAGE_RESERVATIONS}`);
    for (const row of rows) yield factsFrom(tenant, row);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_RESERVATIONS) return;
    after = last.reservation_id;
  }
}

/** Those of these reservations that belong to orders, as they are now. */
export async function readReservations(
  sql: Sql,
  tenant: string,
  ids: readonly string[],
): Promise<ReservationFacts[]> {
  const these = sql`
    and reservation_id = any(${[...ids]}::uuid[])
    and owner like 'orders/%'`;
  return (await selectReservations(sql, tenant, these, sql``)).map((row) => factsFrom(tenant, row));
}

/**
 * The time before which ended reservations may have been taken out of use with their partition: the lower
 * bound of the oldest one that is attached and not about to be detached.
 */
export async function readForgottenBefore(sql: Sql): Promise<number> {
  const [row] = await sql<{ oldest: Date | null }[]>`
    select min(
      substring(pg_get_expr(child.relpartbound, child.oid) from 'FROM \(''([^'']+)''\)')::timestamptz
    ) as oldest
    from pg_inherits
    join pg_class as child on child.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'ended_reservations'::regclass
      and not pg_inherits.inhdetachpending`;
  return row?.oldest?.getTime() ?? Number.POSITIVE_INFINITY;
}

async function selectReservations(
  sql: Sql,
  tenant: string,
  which: postgres.Fragment,
  atMost: postgres.Fragment,
): Promise<ReservationRow[]> {
  return await sql<ReservationRow[]>`
    with page as materialized (
      select *
      from (
        (
          select reservation_id, owner, state, lines, create_time as change_time
          from reservations
          where tenant_id = ${tenant}
            ${which}
        )
        union all
        (
          select reservation_id, owner, state, lines, end_time
          from ended_reservations
          where tenant_id = ${tenant}
            ${which}
        )
      ) as every
      order by reservation_id
      ${atMost}
    )
    select
      page.reservation_id, substr(page.owner, 8) as order_id, page.state, page.lines,
      (extract(epoch from clock_timestamp() - page.change_time) * 1000)::double precision as unchanged_ms,
      page.state <> 'ACTIVE' or (
        select count(*)
        from jsonb_to_recordset(page.lines) as line (sku text, location_id text, quantity integer)
        join reservation_lines as kept
          on kept.tenant_id = ${tenant}
          and kept.sku = line.sku
          and kept.location_id = line.location_id
          and kept.reservation_id = page.reservation_id
          and kept.quantity = line.quantity
      ) = jsonb_array_length(page.lines) as lines_are_kept
    from page
    order by page.reservation_id`;
}

function factsFrom(tenant: string, row: ReservationRow): ReservationFacts {
  return {
    tenant,
    reservationId: row.reservation_id,
    orderId: row.order_id,
    state: row.state,
    lines: row.lines.map(({ sku, location_id, quantity }) => ({ sku, locationId: location_id, quantity })),
    linesAreKept: row.lines_are_kept,
    unchangedMs: row.unchanged_ms,
  };
}
