import type { Tx } from "#libs/db";
import type { Draft, Rejection } from "../domain/order.ts";
import { numbers, texts, uuids } from "./columns.ts";

/**
 * Writes the orders as RESERVING, with the first row of their history, and returns when each came into being.
 * An id that is taken is left out.
 */
export async function insertOrders(
  tx: Tx,
  tenant: string,
  drafts: readonly Draft[],
): Promise<Map<string, number>> {
  if (drafts.length === 0) return new Map();
  const rows = await tx<{ order_id: string; create_time: Date }[]>`
    with placed as (
      insert into orders
        (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time)
      select ${tenant}, order_id, 'RESERVING', 1, customer_id, currency, note, now(), now()
      from unnest(
        ${uuids(drafts.map((draft) => draft.orderId))}::uuid[],
        ${texts(drafts.map((draft) => draft.customerId))}::text[],
        ${texts(drafts.map((draft) => draft.currency))}::text[],
        ${texts(drafts.map((draft) => draft.note))}::text[]
      ) as draft (order_id, customer_id, currency, note)
      order by order_id
      on conflict do nothing
      returning order_id, create_time
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, 1, null, 'RESERVING', create_time, 'api', ''
      from placed
    )
    select order_id, create_time
    from placed`;
  return new Map(rows.map((row) => [row.order_id, row.create_time.getTime()]));
}

/** Writes the lines of new orders. */
export async function insertLines(tx: Tx, tenant: string, drafts: readonly Draft[]): Promise<void> {
  if (drafts.length === 0) return;
  const rows = drafts.flatMap(({ orderId, lines }) =>
    lines.map((line, index) => ({ ...line, orderId, lineNumber: index + 1 })),
  );
  await tx`
    insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
    select ${tenant}, order_id, line_number, sku, location_id, quantity, unit_amount
    from unnest(
      ${uuids(rows.map((row) => row.orderId))}::uuid[],
      ${numbers(rows.map((row) => row.lineNumber))}::integer[],
      ${texts(rows.map((row) => row.sku))}::text[],
      ${texts(rows.map((row) => row.locationId))}::text[],
      ${numbers(rows.map((row) => row.quantity))}::integer[],
      ${numbers(rows.map((row) => row.unitAmount))}::bigint[]
    ) as line (order_id, line_number, sku, location_id, quantity, unit_amount)`;
}

/** Tells the orders that are still RESERVING that one more call works at them; see takeBack. */
export async function countAttempt(tx: Tx, tenant: string, orderIds: readonly string[]): Promise<void> {
  if (orderIds.length === 0) return;
  await tx`
    with reserving as materialized (
      select order_id
      from orders
      where tenant_id = ${tenant}
        and order_id = any(${uuids(orderIds)}::uuid[])
        and state = 'RESERVING'
      order by order_id
      for no key update
    )
    update orders
    set attempts = attempts + 1
    from reserving
    where orders.tenant_id = ${tenant}
      and orders.order_id = reserving.order_id`;
}

/** An order that left RESERVING in a statement. */
export type Left = {
  readonly time: number;
  readonly expireTime: number | undefined;
  /** The calls that worked at it. */
  readonly attempts: number;
};

/**
 * RESERVING to PENDING for the ttl of each, with its row of history; returns those that were still RESERVING.
 */
export async function confirmOrders(
  tx: Tx,
  tenant: string,
  confirmations: readonly { readonly orderId: string; readonly ttlMs: number }[],
): Promise<Map<string, Left>> {
  if (confirmations.length === 0) return new Map();
  const rows = await tx<{ order_id: string; update_time: Date; expire_time: Date; attempts: number }[]>`
    with placed as (
      update orders
      set
        state = 'PENDING',
        version = version + 1,
        update_time = now(),
        expire_time = now() + reserved.ttl_ms * interval '1 millisecond'
      from unnest(
        ${uuids(confirmations.map(({ orderId }) => orderId))}::uuid[],
        ${numbers(confirmations.map(({ ttlMs }) => ttlMs))}::bigint[]
      ) as reserved (order_id, ttl_ms)
      where orders.tenant_id = ${tenant}
        and orders.order_id = reserved.order_id
        and orders.state is not distinct from 'RESERVING'
      returning orders.order_id, version, update_time, expire_time, attempts
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, version, 'RESERVING', 'PENDING', update_time, 'api', ''
      from placed
    )
    select order_id, update_time, expire_time, attempts
    from placed`;
  return new Map(
    rows.map((row) => [
      row.order_id,
      { time: row.update_time.getTime(), expireTime: row.expire_time.getTime(), attempts: row.attempts },
    ]),
  );
}

/** RESERVING to REJECTED, with its row of history; returns those that were still RESERVING. */
export async function rejectOrders(
  tx: Tx,
  tenant: string,
  refusals: readonly { readonly orderId: string; readonly rejection: Rejection }[],
): Promise<Map<string, Left>> {
  if (refusals.length === 0) return new Map();
  const rows = await tx<{ order_id: string; update_time: Date; attempts: number }[]>`
    with rejected as (
      update orders
      set
        state = 'REJECTED',
        version = version + 1,
        update_time = now(),
        end_time = now(),
        rejection = refused.rejection::jsonb
      from unnest(
        ${uuids(refusals.map(({ orderId }) => orderId))}::uuid[],
        ${texts(refusals.map(({ rejection }) => JSON.stringify(rejection)))}::text[]
      ) as refused (order_id, rejection)
      where orders.tenant_id = ${tenant}
        and orders.order_id = refused.order_id
        and orders.state is not distinct from 'RESERVING'
      returning orders.order_id, version, update_time, attempts, orders.rejection ->> 'reason' as reason
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, version, 'RESERVING', 'REJECTED', update_time, 'api', reason
      from rejected
    )
    select order_id, update_time, attempts
    from rejected`;
  return new Map(
    rows.map(({ order_id, update_time, attempts }) => [
      order_id,
      { time: update_time.getTime(), expireTime: undefined, attempts },
    ]),
  );
}

/**
 * Removes orders as if they had never been sent: those still RESERVING at which no other call works. Another
 * call may have reserved their stock by now, and an order that is gone would not give it back.
 */
export async function takeBack(tx: Tx, tenant: string, orderIds: readonly string[]): Promise<Set<string>> {
  if (orderIds.length === 0) return new Set();
  const rows = await tx<{ order_id: string }[]>`
    delete from orders
    where tenant_id = ${tenant}
      and order_id = any(${uuids(orderIds)}::uuid[])
      and state = 'RESERVING'
      and attempts = 1
    returning order_id`;
  const gone = rows.map((row) => row.order_id);
  await Promise.all([
    tx`
      delete from order_lines
      where tenant_id = ${tenant}
        and order_id = any(${uuids(gone)}::uuid[])`,
    tx`
      delete from order_history
      where tenant_id = ${tenant}
        and order_id = any(${uuids(gone)}::uuid[])`,
  ]);
  return new Set(gone);
}
