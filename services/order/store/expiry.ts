import type { Sql, Tx } from "#libs/db";
import { type Actor, abandonment } from "../domain/order.ts";

/** An order that a statement expired. */
export type Expired = { readonly orderId: string; readonly expireTime: number; readonly endTime: number };

export type ExpiryWindow = {
  /** Orders that fell due before are left alone: they were seen already, or others work at them. */
  readonly fromTime: number;
  /** Orders that have been due for less than this are left alone. */
  readonly overdueMs: number;
  readonly limit: number;
};

/**
 * PENDING and due to EXPIRED, with their rows of history: the next `limit` of a tenant by the time they fell
 * due. Rows that others have locked are passed over, so this never waits. Those it has locked itself stay in
 * their places until its end, where they are found without the index of their ids.
 */
export async function expireOrders(
  tx: Tx,
  tenant: string,
  window: ExpiryWindow,
  actor: Actor,
): Promise<Expired[]> {
  const rows = await tx<{ order_id: string; expire_time: Date; end_time: Date }[]>`
    with due as materialized (
      select ctid as place
      from orders
      where tenant_id = ${tenant}
        and state = 'PENDING'
        and expire_time >= ${new Date(window.fromTime)}
        and expire_time <= now() - ${window.overdueMs} * interval '1 millisecond'
      order by expire_time
      limit ${window.limit}
      for no key update skip locked
    ),
    expired as (
      update orders
      set state = 'EXPIRED', version = version + 1, update_time = now(), end_time = now()
      where ctid = any(array(select place from due))
      returning order_id, version, expire_time, end_time
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select ${tenant}, order_id, version, 'PENDING', 'EXPIRED', end_time, ${actor}, ''
      from expired
    )
    select order_id, expire_time, end_time
    from expired`;
  return rows.map((row) => ({
    orderId: row.order_id,
    expireTime: row.expire_time.getTime(),
    endTime: row.end_time.getTime(),
  }));
}

/** RESERVING for longer than `ageMs` to REJECTED (ABANDONED), with their rows of history; never waits. */
export async function abandonOrders(
  tx: Tx,
  tenant: string,
  ageMs: number,
  limit: number,
): Promise<{ readonly orderId: string; readonly time: number }[]> {
  const rows = await tx<{ order_id: string; end_time: Date }[]>`
    with old as materialized (
      select order_id
      from orders
      where tenant_id = ${tenant}
        and state = 'RESERVING'
        and create_time < now() - ${ageMs} * interval '1 millisecond'
      order by create_time
      limit ${limit}
      for no key update skip locked
    ),
    abandoned as (
      update orders
      set
        state = 'REJECTED',
        version = version + 1,
        update_time = now(),
        end_time = now(),
        rejection = ${tx.json(abandonment)}
      from old
      where orders.tenant_id = ${tenant}
        and orders.order_id = old.order_id
      returning orders.order_id, version, end_time
    ),
    history as (
      insert into order_history
        (tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason)
      select
        ${tenant}, order_id, version, 'RESERVING', 'REJECTED', end_time, 'recovery', ${abandonment.reason}
      from abandoned
    )
    select order_id, end_time
    from abandoned`;
  return rows.map((row) => ({ orderId: row.order_id, time: row.end_time.getTime() }));
}

/**
 * The tenants with an order overdue for longer than `graceMs`. It leaps from tenant to tenant along the index
 * of what falls due, so it costs a few page reads a tenant however many orders wait.
 */
export async function tenantsWithOverdueOrders(sql: Sql, graceMs: number): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    with recursive tenants as (
      (
        select tenant_id, expire_time
        from orders
        where state = 'PENDING'
        order by tenant_id, expire_time
        limit 1
      )
      union all
      select next.tenant_id, next.expire_time
      from tenants
      cross join lateral (
        select orders.tenant_id, orders.expire_time
        from orders
        where orders.state = 'PENDING'
          and orders.tenant_id > tenants.tenant_id
        order by orders.tenant_id, orders.expire_time
        limit 1
      ) as next
    )
    select tenant_id
    from tenants
    where expire_time <= now() - ${graceMs} * interval '1 millisecond'`;
  return rows.map((row) => row.tenant_id);
}

/** The tenants with an order that has been RESERVING for longer than `ageMs`; leaps as the one above. */
export async function tenantsWithOldReserving(sql: Sql, ageMs: number): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    with recursive tenants as (
      (
        select tenant_id
        from orders
        order by tenant_id
        limit 1
      )
      union all
      select next.tenant_id
      from tenants
      cross join lateral (
        select orders.tenant_id
        from orders
        where orders.tenant_id > tenants.tenant_id
        order by orders.tenant_id
        limit 1
      ) as next
    )
    select tenant_id
    from tenants
    where exists (
      select 1
      from orders
      where orders.tenant_id = tenants.tenant_id
        and orders.state = 'RESERVING'
        and orders.create_time < now() - ${ageMs} * interval '1 millisecond'
    )`;
  return rows.map((row) => row.tenant_id);
}
