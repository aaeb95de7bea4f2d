import { bytes, isDuplicate, numbers, type Sql, type Tx, texts, times, uuids } from "#libs/db";
import { type OutboxMessage, outboxInsertion } from "#libs/events";
import type { Draft, Order, Rejection } from "../domain/order.ts";
import { nudgesInsertion } from "./nudges.ts";
import type { RequestKey } from "./requests.ts";

/** An order that is to be opened, and the request that wants it. */
export type Opening = { readonly draft: Draft; readonly request: RequestKey | undefined };

/** What came into being, and when: all in one moment of the database's clock. */
export type NewOrders = { readonly createTime: number; readonly orderIds: ReadonlySet<string> };

/**
 * Writes new orders as RESERVING, each with its lines, the first row of its history and its request_id, all
 * in this one statement. Left out are those whose request_id somebody has used, and those whose own id is
 * taken; no two may have the same. Waits for others who are about to take the same ones, request_ids first,
 * all in one order. If an order's id is taken in this very moment nothing is written: it throws what
 * `isIdTaken` knows.
 *
 * Each order is looked up by itself, and lists are compared with what was written by `or` and `is true`: as
 * joins, which `not exists` and a plain `in` become, they would compare each row with each.
 */
export async function openOrders(sql: Sql, tenant: string, openings: readonly Opening[]): Promise<NewOrders> {
  const drafts = openings.map(({ draft }) => draft);
  const lines = drafts.flatMap((draft) =>
    draft.lines.map((line, index) => ({ ...line, orderId: draft.orderId, lineNumber: index + 1 })),
  );
  const rows = await sql<{ order_id: string; create_time: Date }[]>`
    with draft as materialized (
      select *
      from unnest(
        ${uuids(drafts.map((draft) => draft.orderId))}::uuid[],
        ${texts(drafts.map((draft) => draft.customerId))}::text[],
        ${texts(drafts.map((draft) => draft.currency))}::text[],
        ${texts(drafts.map((draft) => draft.note))}::text[],
        ${uuids(openings.map(({ request }) => request?.requestId))}::uuid[],
        ${bytes(openings.map(({ request }) => request?.hash))}::bytea[]
      ) as draft (order_id, customer_id, currency, note, request_id, request_hash)
      where (
        select orders.order_id
        from orders
        where orders.tenant_id = ${tenant}
          and orders.order_id = draft.order_id
      ) is null
    ),
    claimed as (
      insert into requests (tenant_id, request_id, request_hash, order_id)
      select ${tenant}, request_id, request_hash, order_id
      from draft
      where request_id is not null
      order by request_id
      on conflict do nothing
      returning request_id
    ),
    placed as (
      insert into orders
        (tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time)
      select ${tenant}, order_id, 'RESERVING', 1, customer_id, currency, note, now(), now()
      from draft
      where request_id is null or request_id in (select request_id from claimed)
      order by order_id
      returning order_id, create_time
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, 1, null, 'RESERVING', create_time, 'api', ''
      from placed
    ),
    lines as (
      insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
      select ${tenant}, order_id, line_number, sku, location_id, quantity, unit_amount
      from unnest(
        ${uuids(lines.map((line) => line.orderId))}::uuid[],
        ${numbers(lines.map((line) => line.lineNumber))}::integer[],
        ${texts(lines.map((line) => line.sku))}::text[],
        ${texts(lines.map((line) => line.locationId))}::text[],
        ${numbers(lines.map((line) => line.quantity))}::integer[],
        ${numbers(lines.map((line) => line.unitAmount))}::bigint[]
      ) as line (order_id, line_number, sku, location_id, quantity, unit_amount)
      where (order_id in (select order_id from placed)) is true
    )
    select order_id, create_time
    from placed`;
  return {
    createTime: rows[0]?.create_time.getTime() ?? 0,
    orderIds: new Set(rows.map((row) => row.order_id)),
  };
}

/**
 * Whether openOrders found an order's id taken between its look and its insert. No race is lost at any other
 * key: a request_id that is taken meanwhile is passed over, and by the time its lines and its history are
 * written an order has its id. A duplicate there is a defect.
 */
export function isIdTaken(error: unknown): boolean {
  return isDuplicate(error, "orders_key");
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

/**
 * RESERVING to PENDING, each with its row of history and its event, and the nudges of the seconds that nobody
 * had noted, all in this one statement; returns the outbox_ids of the events that it wrote. Nothing is
 * written of an order that had left RESERVING. The orders come as they are to be, the events in their order.
 */
export async function confirmOrders(
  sql: Sql,
  tenant: string,
  orders: readonly Order[],
  {
    events,
    nudges,
  }: { readonly events: readonly OutboxMessage[]; readonly nudges: readonly OutboxMessage[] },
): Promise<Set<string>> {
  const rows = await sql<{ outbox_id: string }[]>`
    with placed as (
      update orders
      set
        state = 'PENDING',
        version = orders.version + 1,
        update_time = confirmed.update_time,
        expire_time = confirmed.expire_time
      from unnest(
        ${uuids(orders.map(({ orderId }) => orderId))}::uuid[],
        ${times(orders.map(({ updateTime }) => updateTime))}::timestamptz[],
        ${times(orders.map(({ expireTime }) => expireTime))}::timestamptz[],
        ${uuids(events.map(({ outboxId }) => outboxId))}::uuid[]
      ) as confirmed (order_id, update_time, expire_time, outbox_id)
      where orders.tenant_id = ${tenant}
        and orders.order_id = confirmed.order_id
        and orders.state is not distinct from 'RESERVING'
      returning orders.order_id, orders.version, orders.update_time, confirmed.outbox_id
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, version, 'RESERVING', 'PENDING', update_time, 'api', ''
      from placed
    ),
    noted as (
      ${nudgesInsertion(sql, tenant, nudges, sql`exists (select from placed)`)}
    ),
    told as (
      ${outboxInsertion(sql, [...events, ...nudges])}
      where (outbox_id in (select outbox_id from placed)) is true
        or (due_time in (select due_time from noted)) is true
    )
    select outbox_id
    from placed`;
  return new Set(rows.map((row) => row.outbox_id));
}

/** How an order left RESERVING without its stock. */
export type Left = {
  readonly time: number;
  /** The calls that worked at it. */
  readonly attempts: number;
};

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
    rows.map(({ order_id, update_time, attempts }) => [order_id, { time: update_time.getTime(), attempts }]),
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
