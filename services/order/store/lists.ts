import { type Sql, texts } from "#libs/db";
import type { Order, State, Transition } from "../domain/order.ts";
import { readLines, type Snapshot } from "./orders.ts";
import { linesByOrder, type OrderRow, orderOf } from "./rows.ts";

/** Where a page of orders begins: after this order, by time and id. */
export type OrderPosition = { readonly createTime: number; readonly orderId: string };

export type OrderPage = {
  /** As it reads now: EXPIRED includes what is due and not yet swept, PENDING leaves it out. */
  readonly state: State | undefined;
  readonly customerId: string;
  /** Only those that do, only those that don't, or all. */
  readonly refundRequired: boolean | undefined;
  readonly after: OrderPosition | undefined;
  readonly limit: number;
};

/** The orders of a page, and where the next one begins if there is any. */
export type OrderListing = Snapshot & { readonly next: OrderPosition | undefined };

/** Before every order, so that a first page begins here. */
const beginning: OrderPosition = {
  createTime: Date.UTC(9999, 0),
  orderId: "ffffffff-ffff-ffff-ffff-ffffffffffff",
};

const everyState: readonly State[] = ["RESERVING", "PENDING", "SETTLED", "CANCELLED", "EXPIRED", "REJECTED"];

type PageRow = OrderRow & { now: Date };

/**
 * A page of orders, newest first, by (create_time, order_id), which never change: stable while others write.
 */
export async function listOrders(sql: Sql, tenant: string, page: OrderPage): Promise<OrderListing> {
  const list = page.refundRequired ? listByRefund : page.customerId === "" ? listByState : listByCustomer;
  // One more than asked for tells whether there is another page.
  const found = await list(sql, tenant, { ...page, limit: page.limit + 1 });
  const rows = found.slice(0, page.limit);
  const last = found.length > page.limit ? rows.at(-1) : undefined;
  const lines = linesByOrder(
    await readLines(
      sql,
      tenant,
      rows.map((row) => row.order_id),
    ),
  );
  const orders = new Map<string, Order>();
  for (const row of rows) {
    const ofOrder = lines.get(row.order_id);
    // Every order has lines: one without was taken back between the two reads.
    if (ofOrder) orders.set(row.order_id, orderOf(row, ofOrder));
  }
  return {
    now: rows[0]?.now.getTime() ?? 0,
    orders,
    next: last && { createTime: last.create_time.getTime(), orderId: last.order_id },
  };
}

/**
 * Each state's part is read from its own end of the index and the parts are merged, so a page costs at most
 * six times its length however many orders there are. What is due and not yet swept is a part of its own,
 * usually empty.
 */
async function listByState(sql: Sql, tenant: string, page: OrderPage): Promise<PageRow[]> {
  const { createTime, orderId } = page.after ?? beginning;
  const states = page.state === undefined ? everyState : [page.state];
  return await sql<PageRow[]>`
    with due as materialized (
      select order_id, create_time
      from orders
      where ${page.state === "EXPIRED"}
        and tenant_id = ${tenant}
        and state = 'PENDING'
        and expire_time <= now()
        and (create_time, order_id) < (${new Date(createTime)}, ${orderId})
      order by create_time desc, order_id desc
      limit ${page.limit}
    ),
    part as (
      select found.order_id, found.create_time
      from unnest(${texts(states)}::text[]) as wanted (state)
      cross join lateral (
        select orders.order_id, orders.create_time
        from orders
        where orders.tenant_id = ${tenant}
          and orders.state = wanted.state
          and (orders.create_time, orders.order_id) < (${new Date(createTime)}, ${orderId})
          and (${page.state !== "PENDING"} or orders.expire_time > now())
          and (${page.refundRequired !== false} or not orders.refund_required)
        order by orders.create_time desc, orders.order_id desc
        limit ${page.limit}
      ) as found
      union all
      select order_id, create_time
      from due
    ),
    page as (
      select order_id
      from part
      order by create_time desc, order_id desc
      limit ${page.limit}
    )
    select
      order_id, state, version, customer_id, currency, note, create_time, update_time, expire_time, end_time,
      payment_reference, cancel_reason, rejection, late, late_reservation_id, late_attempt_time,
      refund_required, refund_resolution, refund_resolve_time, date_trunc('milliseconds', now()) as now
    from orders
    where tenant_id = ${tenant}
      and order_id in (select order_id from page)
    order by create_time desc, order_id desc`;
}

async function listByCustomer(sql: Sql, tenant: string, page: OrderPage): Promise<PageRow[]> {
  const { createTime, orderId } = page.after ?? beginning;
  return await sql<PageRow[]>`
    select
      order_id, state, version, customer_id, currency, note, create_time, update_time, expire_time, end_time,
      payment_reference, cancel_reason, rejection, late, late_reservation_id, late_attempt_time,
      refund_required, refund_resolution, refund_resolve_time, date_trunc('milliseconds', now()) as now
    from orders
    where tenant_id = ${tenant}
      and left(customer_id, 64) = left(${page.customerId}, 64)
      and customer_id = ${page.customerId}
      and (create_time, order_id) < (${new Date(createTime)}, ${orderId})
      and (
        ${page.state ?? ""} = ''
        or ${page.state ?? ""} =
          case when state = 'PENDING' and expire_time <= now() then 'EXPIRED' else state end
      )
      and (${page.refundRequired !== false} or not refund_required)
    order by create_time desc, order_id desc
    limit ${page.limit}`;
}

// Those that require a refund are EXPIRED, and few.
async function listByRefund(sql: Sql, tenant: string, page: OrderPage): Promise<PageRow[]> {
  const { createTime, orderId } = page.after ?? beginning;
  return await sql<PageRow[]>`
    select
      order_id, state, version, customer_id, currency, note, create_time, update_time, expire_time, end_time,
      payment_reference, cancel_reason, rejection, late, late_reservation_id, late_attempt_time,
      refund_required, refund_resolution, refund_resolve_time, date_trunc('milliseconds', now()) as now
    from orders
    where tenant_id = ${tenant}
      and refund_required
      and (create_time, order_id) < (${new Date(createTime)}, ${orderId})
      and ${page.state === undefined || page.state === "EXPIRED"}
      and (${page.customerId} = '' or customer_id = ${page.customerId})
    order by create_time desc, order_id desc
    limit ${page.limit}`;
}

type HistoryRow = {
  order_id: string;
  sequence: number;
  from_state: State | null;
  to_state: State;
  create_time: Date;
  actor: Transition["actor"];
  reason: string;
};

/** The rows of an order's history after the given one, oldest first. */
export async function listHistory(
  sql: Sql,
  tenant: string,
  orderId: string,
  afterSequence: number,
  limit: number,
): Promise<Transition[]> {
  const rows = await sql<HistoryRow[]>`
    select order_id, sequence, from_state, to_state, create_time, actor, reason
    from order_history
    where tenant_id = ${tenant}
      and order_id = ${orderId}
      and sequence > ${afterSequence}::bigint
    order by sequence
    limit ${limit}`;
  return rows.map((row) => ({
    orderId: row.order_id,
    sequence: row.sequence,
    fromState: row.from_state ?? undefined,
    toState: row.to_state,
    time: row.create_time.getTime(),
    actor: row.actor,
    reason: row.reason,
  }));
}
