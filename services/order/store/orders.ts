import { numbers, type Sql, type Tx, texts, times, uuids } from "#libs/db";
import type { Order, Transition } from "../domain/order.ts";
import { type LineRow, linesByOrder, type OrderRow, orderOf } from "./rows.ts";

/** Orders by id, and the moment, by the database's clock, at which they were so. */
export type Snapshot = { readonly now: number; readonly orders: ReadonlyMap<string, Order> };

type RowAndNow = OrderRow & { now: Date };

/** Reads orders with their lines; those that do not exist are not among them. */
export async function readOrders(
  sql: Sql | Tx,
  tenant: string,
  orderIds: readonly string[],
): Promise<Snapshot> {
  const [rows, lines] = await Promise.all([
    sql<RowAndNow[]>`
      select
        order_id, state, version, customer_id, currency, note, create_time, update_time, expire_time,
        end_time, payment_reference, cancel_reason, rejection, late, late_reservation_id, late_attempt_time,
        refund_required, refund_resolution, refund_resolve_time, date_trunc('milliseconds', now()) as now
      from orders
      where tenant_id = ${tenant}
        and order_id = any(${uuids(orderIds)}::uuid[])`,
    readLines(sql, tenant, orderIds),
  ]);
  return snapshotOf(rows, lines);
}

/**
 * Reads orders with their lines and keeps their rows from changing until the transaction ends. All who lock
 * several rows and wait for them lock in the order of the ids, so nobody waits in a circle.
 */
export async function lockOrders(tx: Tx, tenant: string, orderIds: readonly string[]): Promise<Snapshot> {
  const [rows, lines] = await Promise.all([
    tx<RowAndNow[]>`
      select
        order_id, state, version, customer_id, currency, note, create_time, update_time, expire_time,
        end_time, payment_reference, cancel_reason, rejection, late, late_reservation_id, late_attempt_time,
        late_payment_references, refund_required, refund_resolution, refund_resolve_time,
        date_trunc('milliseconds', now()) as now
      from orders
      where tenant_id = ${tenant}
        and order_id = any(${uuids(orderIds)}::uuid[])
      order by order_id
      for no key update`,
    readLines(tx, tenant, orderIds),
  ]);
  return snapshotOf(rows, lines);
}

/** The lines of orders, in their order. */
export async function readLines(
  sql: Sql | Tx,
  tenant: string,
  orderIds: readonly string[],
): Promise<LineRow[]> {
  return await sql<LineRow[]>`
    select order_id, sku, location_id, quantity, unit_amount
    from order_lines
    where tenant_id = ${tenant}
      and order_id = any(${uuids(orderIds)}::uuid[])
    order by order_id, line_number`;
}

function snapshotOf(rows: readonly RowAndNow[], lineRows: readonly LineRow[]): Snapshot {
  const lines = linesByOrder(lineRows);
  const now = rows[0]?.now.getTime() ?? 0;
  const orders = new Map<string, Order>();
  for (const row of rows) {
    const ofOrder = lines.get(row.order_id);
    // Every order has lines: one without was taken back between the two reads.
    if (ofOrder) orders.set(row.order_id, orderOf(row, ofOrder));
  }
  return { now, orders };
}

/** An order that was locked and judged, as it is to be saved; `judgedVersion` is what it was judged by. */
export type Saved = { readonly order: Order; readonly judgedVersion: number };

/**
 * Writes the outcome of transitions from PENDING. The row has the last word: it must still be PENDING, of the
 * version that was judged, and due if and only if it is expired; anything else is a defect and undoes the
 * transaction.
 */
export async function saveOrders(tx: Tx, tenant: string, saved: readonly Saved[]): Promise<void> {
  if (saved.length === 0) return;
  const orders = saved.map(({ order }) => order);
  const updated = await tx`
    update orders
    set
      state = saved.state,
      version = saved.version,
      update_time = saved.update_time,
      expire_time = saved.expire_time,
      end_time = saved.end_time,
      payment_reference = saved.payment_reference,
      cancel_reason = saved.cancel_reason
    from unnest(
      ${uuids(orders.map((order) => order.orderId))}::uuid[],
      ${numbers(saved.map(({ judgedVersion }) => judgedVersion))}::integer[],
      ${texts(orders.map((order) => order.state))}::text[],
      ${numbers(orders.map((order) => order.version))}::integer[],
      ${times(orders.map((order) => order.updateTime))}::timestamptz[],
      ${times(orders.map((order) => order.expireTime))}::timestamptz[],
      ${times(orders.map((order) => order.endTime))}::timestamptz[],
      ${texts(orders.map((order) => order.paymentReference))}::text[],
      ${texts(orders.map((order) => order.cancelReason))}::text[]
    ) as saved (
      order_id, judged_version, state, version, update_time, expire_time, end_time, payment_reference,
      cancel_reason
    )
    where orders.tenant_id = ${tenant}
      and orders.order_id = saved.order_id
      and orders.state is not distinct from 'PENDING'
      and orders.version = saved.judged_version
      and (orders.expire_time <= now()) = (saved.state = 'EXPIRED')`;
  if (updated.count !== saved.length) {
    throw new Error(`${updated.count} of ${saved.length} locked orders were as they had been judged`);
  }
}

/** Writes rows of history. */
export async function insertHistory(
  tx: Tx,
  tenant: string,
  transitions: readonly Transition[],
): Promise<void> {
  if (transitions.length === 0) return;
  await tx`
    insert into order_history
      (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
    select ${tenant}, order_id, sequence, from_state, to_state, create_time, actor, reason
    from unnest(
      ${uuids(transitions.map(({ orderId }) => orderId))}::uuid[],
      ${numbers(transitions.map(({ sequence }) => sequence))}::integer[],
      ${texts(transitions.map(({ fromState }) => fromState))}::text[],
      ${texts(transitions.map(({ toState }) => toState))}::text[],
      ${times(transitions.map(({ time }) => time))}::timestamptz[],
      ${texts(transitions.map(({ actor }) => actor))}::text[],
      ${texts(transitions.map(({ reason }) => reason))}::text[]
    ) as transition (order_id, sequence, from_state, to_state, create_time, actor, reason)`;
}
