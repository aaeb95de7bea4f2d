import { names, type Sql, type Tx } from "#libs/db";
import { isOwnedByOrder, type Reservation, type ReservationState, readAt } from "../domain/reservation.ts";
import { earliestEndOf } from "./ended.ts";
import { type ReservationRow, reservationFrom } from "./rows.ts";

type ReadRow = ReservationRow & { readonly read_time: Date };

export type ReservationFilter = {
  readonly state: ReservationState | undefined;
  /** All if empty. */
  readonly owner: string;
};

export type ReservationKey = { readonly createTime: number; readonly reservationId: string };

/** A reservation that has fallen due. */
export type DueReservation = { readonly tenant: string; readonly reservationId: string };

/** One reservation as it reads now, live or ended. */
export async function readReservation(
  sql: Sql,
  tenant: string,
  reservationId: string,
): Promise<Reservation | undefined> {
  const [row] = await sql<ReadRow[]>`
    select reservation_id, state, owner, lines, create_time, expire_time, end_time, now() as read_time
    from reservations
    where tenant_id = ${tenant}
      and reservation_id = ${reservationId}
    union all
    select reservation_id, state, owner, lines, create_time, expire_time, end_time, now() as read_time
    from ended_reservations
    where tenant_id = ${tenant}
      and reservation_id = ${reservationId}
      and end_time >= ${earliestEndOf([reservationId], Date.now())}`;
  return row && readNow(row);
}

/** A page of reservations behind `after`, newest first, as they read now. */
export async function listReservations(
  sql: Sql | Tx,
  tenant: string,
  filter: ReservationFilter,
  page: { readonly after: ReservationKey | undefined; readonly limit: number },
): Promise<Reservation[]> {
  const { after, limit } = page;
  const behind = after
    ? sql`and (create_time, reservation_id) < (${new Date(after.createTime)}, ${after.reservationId}::uuid)`
    : sql``;
  const ids = ORDER_ID.test(filter.owner) ? await idsOfOrder(sql, tenant, filter.owner) : [];
  const common = sql`${ownedBy(sql, filter.owner, ids)} ${behind}`;
  const rows = await sql<ReadRow[]>`
    (
      select reservation_id, state, owner, lines, create_time, expire_time, end_time, now() as read_time
      from reservations
      where tenant_id = ${tenant} ${liveIn(sql, filter.state)} ${byTime(sql)} ${common}
      order by create_time desc, reservation_id desc
      limit ${limit}
    )
    union all
    (
      select reservation_id, state, owner, lines, create_time, expire_time, end_time, now() as read_time
      from ended_reservations
      where tenant_id = ${tenant} ${endedIn(sql, filter)} ${common}
      order by create_time desc, reservation_id desc
      limit ${limit}
    )
    order by create_time desc, reservation_id desc
    limit ${limit}`;
  return rows.map(readNow);
}

/** Live reservations of any tenant, or of one, whose time came more than `graceMs` ago; oldest first. */
export async function listDue(
  sql: Sql,
  due: { readonly tenant?: string; readonly graceMs: number; readonly limit: number },
): Promise<DueReservation[]> {
  return await sql<DueReservation[]>`
    select tenant_id as tenant, reservation_id as "reservationId"
    from reservations
    where state = 'ACTIVE'
      and expire_time is not null
      and expire_time <= now() - ${due.graceMs} * interval '1 millisecond'
      ${due.tenant === undefined ? sql`` : sql`and tenant_id = ${due.tenant}`}
    order by expire_time
    limit ${due.limit}`;
}

/** A live reservation of an order. */
export type OwnedByOrder = ReservationKey & { readonly orderId: string };

/** Live reservations of orders that were made by `until`, behind `after`, oldest first. */
export async function listOwnedByOrders(
  sql: Sql,
  tenant: string,
  page: { readonly until: number; readonly after: ReservationKey | undefined; readonly limit: number },
): Promise<OwnedByOrder[]> {
  const { until, after, limit } = page;
  const behind = after
    ? sql`and (create_time, reservation_id) > (${new Date(after.createTime)}, ${after.reservationId}::uuid)`
    : sql``;
  const rows = await sql<{ reservation_id: string; order_id: string; create_time: Date }[]>`
    select reservation_id, substr(owner, 8) as order_id, create_time
    from reservations
    where tenant_id = ${tenant}
      and state = 'ACTIVE'
      and owner like 'orders/%'
      and create_time <= ${new Date(until)}
      ${byTime(sql)}
      ${behind}
    order by create_time, reservation_id
    limit ${limit}`;
  return rows.map((row) => ({
    reservationId: row.reservation_id,
    orderId: row.order_id,
    createTime: row.create_time.getTime(),
  }));
}

function readNow(row: ReadRow): Reservation {
  return readAt(reservationFrom(row), row.read_time.getTime());
}

const ORDER_ID = /^orders\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

// The first reservation of an order has the order's id, so no index has its owner; only a late one's.
async function idsOfOrder(sql: Sql | Tx, tenant: string, owner: string): Promise<string[]> {
  const rows = await sql<{ reservation_id: string }[]>`
    select reservation_id
    from reservations
    where tenant_id = ${tenant}
      and owner = ${owner}
      and owner like 'orders/%'
      and owner <> 'orders/' || reservation_id::text
    union all
    select reservation_id
    from ended_reservations
    where tenant_id = ${tenant}
      and owner = ${owner}
      and owner like 'orders/%'
      and owner <> 'orders/' || reservation_id::text`;
  return [owner.slice("orders/".length), ...rows.map((row) => row.reservation_id)];
}

function ownedBy(sql: Sql | Tx, owner: string, ids: readonly string[]) {
  if (owner === "") return sql``;
  if (!isOwnedByOrder({ owner }))
    return sql`and owner not like 'orders/%' and left(owner, 64) = left(${owner}, 64) and owner = ${owner}`;
  if (!ORDER_ID.test(owner)) return sql`and false`;
  return sql`and reservation_id = any(${names(ids)}::uuid[]) and owner = ${owner}`;
}

// What has run out of time reads EXPIRED, swept or not.
function liveIn(sql: Sql | Tx, state: ReservationState | undefined) {
  switch (state) {
    case undefined:
      return sql``;
    case "ACTIVE":
      return sql`and state = 'ACTIVE' and (expire_time is null or expire_time > now())`;
    case "EXPIRED":
      return sql`and state = 'ACTIVE' and expire_time <= now()`;
    case "RELEASED":
      return sql`and state = 'RELEASED'`;
    case "COMMITTED":
      return sql`and false`;
  }
}

/**
 * Few or none have EXPIRED, because no order's reservation does: they have an index of their own, known by
 * the state as it is written there, and the one by time is not named. Each of the other states is half of how
 * orders end, and is met soon on the way through all of them.
 */
function endedIn(sql: Sql | Tx, { state, owner }: ReservationFilter) {
  if (state === undefined) return byTime(sql);
  if (state === "ACTIVE") return sql`and false`;
  if (state === "EXPIRED" && owner === "") return sql`and state = 'EXPIRED'`;
  return sql`and state = ${state} ${byTime(sql)}`;
}

// Always true: it names the indexes by time.
function byTime(sql: Sql | Tx) {
  return sql`and create_time > '2000-01-01 00:00:00+00'`;
}
