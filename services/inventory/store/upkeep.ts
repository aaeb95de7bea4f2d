import type { Sql } from "#libs/db";

/**
 * A late create comes within the life of its call and its retries, minutes at most; a day is far past that.
 */
const TOMBSTONE_DAYS = 1;
/** A nudge that is not delivered a day after its second won't be needed: the sweeper has been there. */
const NUDGE_DAYS = 1;

/** Moves up to `limit` old tombstones to the ended reservations, and returns how many there were. */
export async function retireTombstones(sql: Sql, limit: number): Promise<number> {
  const retired = await sql`
    with old as (
      select tenant_id, reservation_id
      from reservations
      where state = 'RELEASED'
        and end_time < now() - ${TOMBSTONE_DAYS} * interval '1 day'
      order by end_time
      limit ${limit}
      for update skip locked
    ),
    retired as (
      delete from reservations as reservation
      using old
      where reservation.tenant_id = old.tenant_id
        and reservation.reservation_id = old.reservation_id
      returning reservation.*
    )
    insert into ended_reservations (
      tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
    )
    select tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
    from retired`;
  return retired.count;
}

/** Forgets up to `limit` nudges whose second is long over, and returns how many there were. */
export async function deleteOldNudges(sql: Sql, limit: number): Promise<number> {
  const deleted = await sql`
    delete from nudges
    using (
      select tenant_id, due_second
      from nudges
      where due_second < now() - ${NUDGE_DAYS} * interval '1 day'
      order by due_second
      limit ${limit}
      for update skip locked
    ) as old
    where nudges.tenant_id = old.tenant_id
      and nudges.due_second = old.due_second`;
  return deleted.count;
}
