/** Late payments: what befalls an order after it has EXPIRED. */
import { numbers, type Sql, type Tx, texts, times, uuids } from "#libs/db";
import type { Saved } from "./orders.ts";

/**
 * Writes what late payments made of orders. The row has the last word and is the fence between payments: it
 * must still be of the version that was judged, and EXPIRED, or PENDING and due; anything else is a defect
 * and undoes the transaction. References go as text, because an array of arrays is unnested to the last one.
 */
export async function saveLateOrders(tx: Tx, tenant: string, saved: readonly Saved[]): Promise<void> {
  if (saved.length === 0) return;
  const orders = saved.map(({ order }) => order);
  const updated = await tx`
    update orders
    set
      state = saved.state,
      version = saved.version,
      update_time = saved.update_time,
      end_time = saved.end_time,
      payment_reference = saved.payment_reference,
      late = saved.late,
      late_reservation_id = saved.late_reservation_id,
      late_attempt_time = saved.late_attempt_time,
      late_payment_references = saved.late_payment_references::text[],
      refund_required = saved.refund_required,
      refund_resolution = saved.refund_resolution,
      refund_resolve_time = saved.refund_resolve_time
    from unnest(
      ${uuids(orders.map((order) => order.orderId))}::uuid[],
      ${numbers(saved.map(({ judgedVersion }) => judgedVersion))}::integer[],
      ${texts(orders.map((order) => order.state))}::text[],
      ${numbers(orders.map((order) => order.version))}::integer[],
      ${times(orders.map((order) => order.updateTime))}::timestamptz[],
      ${times(orders.map((order) => order.endTime))}::timestamptz[],
      ${texts(orders.map((order) => order.paymentReference))}::text[],
      ${texts(orders.map((order) => String(order.late)))}::boolean[],
      ${texts(orders.map((order) => order.lateReservationId))}::uuid[],
      ${times(orders.map((order) => order.lateAttempt?.startTime))}::timestamptz[],
      ${texts(orders.map((order) => texts(order.latePaymentReferences)))}::text[],
      ${texts(orders.map((order) => String(order.refundRequired)))}::boolean[],
      ${texts(orders.map((order) => order.refundResolution))}::text[],
      ${times(orders.map((order) => order.refundResolveTime))}::timestamptz[]
    ) as saved (
      order_id, judged_version, state, version, update_time, end_time, payment_reference, late,
      late_reservation_id, late_attempt_time, late_payment_references, refund_required, refund_resolution,
      refund_resolve_time
    )
    where orders.tenant_id = ${tenant}
      and orders.order_id = saved.order_id
      and orders.version = saved.judged_version
      and (
        orders.state is not distinct from 'EXPIRED'
        or (orders.state is not distinct from 'PENDING' and orders.expire_time <= now())
      )`;
  if (updated.count !== saved.length) {
    throw new Error(`${updated.count} of ${saved.length} late orders were as they had been judged`);
  }
}

/**
 * Locks the next `limit` orders whose late payment has been under way for longer than `ageMs`; never waits.
 */
export async function lockOldAttempts(
  tx: Tx,
  tenant: string,
  ageMs: number,
  limit: number,
): Promise<string[]> {
  const rows = await tx<{ order_id: string }[]>`
    select order_id
    from orders
    where tenant_id = ${tenant}
      and late_attempt_time is not null
      and late_attempt_time < now() - ${ageMs} * interval '1 millisecond'
    order by late_attempt_time
    limit ${limit}
    for no key update skip locked`;
  return rows.map((row) => row.order_id);
}

/** The tenants with a late payment that has been under way for longer than `ageMs`. */
export async function tenantsWithOldAttempts(sql: Sql, ageMs: number): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    select distinct tenant_id
    from orders
    where late_attempt_time is not null
      and late_attempt_time < now() - ${ageMs} * interval '1 millisecond'`;
  return rows.map((row) => row.tenant_id);
}
