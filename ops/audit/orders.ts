/** What an audit reads of Order's database. */
import type postgres from "postgres";
import type { Sql } from "#libs/db";
import type { Line, OrderFacts, OrderState } from "./agreement.ts";

type OrderRow = {
  readonly order_id: string;
  readonly state: OrderState;
  readonly version: number;
  readonly rejection_reason: string | null;
  readonly lines: readonly Line[] | null;
  readonly age_ms: number;
  readonly unchanged_ms: number;
  readonly overdue_ms: number | null;
  readonly end_time: Date | null;
  readonly expire_time: Date | null;
  readonly late: boolean;
  readonly late_reservation_id: string | null;
  readonly trying_ms: number | null;
  readonly transitions: number;
  readonly last_sequence: number | null;
  readonly last_state: string | null;
};

/**
 * Orders a statement: each is a snapshot of its own, so that no long one keeps dead rows from being swept.
 */
const PAGE_ORDERS = 2_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/** The tenants that have orders; leaps from one to the next, however many orders each has. */
export async function tenantsOfOrders(sql: Sql): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    with recursive tenants as (
      select min(tenant_id) as tenant_id
      from orders
      union all
      select (select min(orders.tenant_id) from orders where orders.tenant_id > tenants.tenant_id)
      from tenants
      where tenants.tenant_id is not null
    )
    select tenant_id
    from tenants
    where tenant_id is not null`;
  return rows.map((row) => row.tenant_id);
}

/** All orders of a tenant by ascending id. */
export async function* walkOrders(sql: Sql, tenant: string): AsyncGenerator<OrderFacts, undefined> {
  let after = FIRST_ID;
  for (;;) {
    const rows = await selectOrders(
      sql,
      tenant,
      sql`
        order_id > ${after}
        order by order_id
        limit ${PAGE_ORDERS}`,
    );
    for (const row of rows) yield factsFrom(tenant, row);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ORDERS) return;
    after = last.order_id;
  }
}

/** These orders as they are now. */
export async function readOrders(sql: Sql, tenant: string, ids: readonly string[]): Promise<OrderFacts[]> {
  const rows = await selectOrders(sql, tenant, sql`order_id = any(${[...ids]}::uuid[])`);
  return rows.map((row) => factsFrom(tenant, row));
}

async function selectOrders(sql: Sql, tenant: string, which: postgres.Fragment): Promise<OrderRow[]> {
  return await sql<OrderRow[]>`
    with page as materialized (
      select
        order_id, state, version, rejection ->> 'reason' as rejection_reason, create_time,
        update_time, expire_time, end_time, late, late_reservation_id, late_attempt_time
      from orders
      where tenant_id = ${tenant}
        and ${which}
    )
    select
      page.order_id, page.state, page.version, page.rejection_reason, page.end_time, page.expire_time,
      page.late, page.late_reservation_id,
      (extract(epoch from clock_timestamp() - page.late_attempt_time) * 1000)::double precision as trying_ms,
      (extract(epoch from clock_timestamp() - page.create_time) * 1000)::double precision as age_ms,
      (extract(epoch from clock_timestamp() - page.update_time) * 1000)::double precision as unchanged_ms,
      (extract(epoch from clock_timestamp() - page.expire_time) * 1000)::double precision as overdue_ms,
      history.transitions, history.last_sequence, history.last_state, ordered.lines
    from page
    cross join lateral (
      select
        count(*)::integer as transitions,
        max(sequence) as last_sequence,
        (array_agg(to_state order by sequence desc))[1] as last_state
      from order_history
      where order_history.tenant_id = ${tenant}
        and order_history.order_id = page.order_id
    ) as history
    cross join lateral (
      select jsonb_agg(
        jsonb_build_object('sku', sku, 'locationId', location_id, 'quantity', quantity)
      ) as lines
      from order_lines
      where order_lines.tenant_id = ${tenant}
        and order_lines.order_id = page.order_id
    ) as ordered
    order by page.order_id`;
}

function factsFrom(tenant: string, row: OrderRow): OrderFacts {
  return {
    tenant,
    orderId: row.order_id,
    state: row.state,
    version: row.version,
    rejectionReason: row.rejection_reason ?? undefined,
    lines: row.lines ?? [],
    ageMs: row.age_ms,
    unchangedMs: row.unchanged_ms,
    overdueMs: row.overdue_ms ?? undefined,
    endTime: row.end_time?.getTime(),
    expireTime: row.expire_time?.getTime(),
    isLate: row.late,
    lateReservationId: row.late_reservation_id ?? undefined,
    tryingMs: row.trying_ms ?? undefined,
    transitions: row.transitions,
    lastSequence: row.last_sequence ?? 0,
    lastState: row.last_state ?? "",
  };
}
