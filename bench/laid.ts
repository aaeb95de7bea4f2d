/** Data that is laid down by SQL, because placing it one by one would take as long as the measurement. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Sql, uuidv7 } from "#libs/db";
import type { Ground } from "./ground.ts";

/** Orders that wait for payment until one and the same second, with their reservations. */
export type DueOrders = {
  readonly skus: readonly string[];
  readonly count: number;
  /** The end of the second within which all of them fall due. */
  readonly dueBy: Date;
};

type Laid = DueOrders & {
  /** In the order in which they are placed and fall due. */
  readonly ids: readonly string[];
};

/**
 * Writes PENDING orders of one unit each, spread over the skus, as both services would have written them one
 * after the other within a second: with lines and history there, and reservations, movements and counters
 * here.
 */
export async function layDueOrders(ground: Ground, { skus, count, dueBy }: DueOrders): Promise<void> {
  const now = Date.now();
  const ids = Array.from({ length: count }, (_, index) => uuidv7(now + Math.floor((index * 1_000) / count)));
  const laid = { ids, count, skus, dueBy };
  await Promise.all([layOrders(ground.orderSql, laid), layReservations(ground.inventorySql, laid)]);
  // What was placed in the course of a day is on the disk long before it falls due. Here it is some 200 MB,
  // which the system would write half a minute later, in the midst of what is measured.
  await promisify(execFile)("sync");
}

async function layOrders(sql: Sql, { ids, count, skus, dueBy }: Laid): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`
      create temporary table due on commit drop as
      select order_id, number
      from unnest(${ids}::uuid[]) with ordinality as minted (order_id, number)`;
    await tx`
      insert into orders (
        tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time,
        expire_time
      )
      select
        'demo', order_id, 'PENDING', 2, 'customer-4711', '', '', now(), now(),
        ${dueBy}::timestamptz - (${count}::integer - number) / ${count}::float8 * interval '1 second'
      from due
      order by number`;
    await tx`
      insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
      select 'demo', order_id, 1, (${skus}::text[])[1 + number % ${skus.length}], 'main', 1, 0
      from due
      order by number`;
    await tx`
      insert into order_history (
        tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason
      )
      select 'demo', order_id, step.sequence, step.from_state, step.to_state, now(), 'api', ''
      from due
      cross join (
        values (1, null, 'RESERVING'), (2, 'RESERVING', 'PENDING')
      ) as step (sequence, from_state, to_state)
      order by number, sequence`;
  });
}

async function layReservations(sql: Sql, { ids, skus }: Laid): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`
      create temporary table due on commit drop as
      select
        reservation_id,
        number,
        (${skus}::text[])[1 + number % ${skus.length}] as sku,
        row_number() over (partition by number % ${skus.length} order by number) as place
      from unnest(${ids}::uuid[]) with ordinality as minted (reservation_id, number)`;
    await tx`
      insert into reservations (tenant_id, reservation_id, state, owner, lines, create_time)
      select
        'demo', reservation_id, 'ACTIVE', 'orders/' || reservation_id,
        jsonb_build_array(jsonb_build_object('sku', sku, 'location_id', 'main', 'quantity', 1)), now()
      from due
      order by number`;
    await tx`
      insert into reservation_lines (tenant_id, sku, location_id, reservation_id, quantity)
      select 'demo', sku, 'main', reservation_id, 1
      from due
      order by number`;
    await tx`
      insert into movements (
        tenant_id, sku, location_id, version, type, on_hand_delta, reserved_delta, on_hand_after,
        reserved_after, cause, create_time
      )
      select
        'demo', due.sku, 'main', level.version + due.place, 'RESERVE', 0, 1, level.on_hand,
        level.reserved + due.place, due.reservation_id, now()
      from due
      join stock_levels as level
        on level.tenant_id = 'demo'
        and level.sku = due.sku
        and level.location_id = 'main'
      order by number`;
    await tx`
      update stock_levels as level
      set reserved = reserved + laid.units, version = version + laid.units, update_time = now()
      from (
        select sku, count(*) as units
        from due
        group by sku
      ) as laid
      where level.tenant_id = 'demo'
        and level.sku = laid.sku
        and level.location_id = 'main'`;
  });
}

/** How much lies in the tables of a service that has been at work for long. */
export type Past = { readonly skus: readonly string[]; readonly reservationsASku: number };

const SKUS_A_TRANSACTION = 50;

/**
 * Writes reservations that have ended, each with the movements that made and released it, over the last four
 * weeks: items, levels and the chain of each level come out as if all had happened.
 */
export async function layPast(sql: Sql, { skus, reservationsASku }: Past): Promise<void> {
  await sql`
    insert into items (tenant_id, sku, display_name, reorder_point, state, create_time, update_time)
    select 'demo', sku, sku, 0, 'ACTIVE', now(), now()
    from unnest(${skus}::text[]) as sku`;
  for (let from = 0; from < skus.length; from += SKUS_A_TRANSACTION) {
    await layPastOf(sql, skus.slice(from, from + SKUS_A_TRANSACTION), reservationsASku);
  }
  await sql`vacuum analyze`;
}

const ON_HAND = 500_000_000;

async function layPastOf(sql: Sql, skus: readonly string[], count: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`
      create temporary table past on commit drop as
      select
        sku,
        number,
        time,
        -- Ids as the services mint them: their first 48 bits are the time.
        (
          lpad(to_hex((extract(epoch from time) * 1000)::bigint), 12, '0') || '7'
          || substr(md5(sku || number), 1, 3) || '8' || substr(md5(sku || number), 4, 15)
        )::uuid as reservation_id
      from unnest(${skus}::text[]) as sku
      cross join lateral (
        select
          number,
          (
            now() - interval '28 days' + number * (interval '28 days' / ${count}::integer)
          )::timestamptz(3) as time
        from generate_series(0, ${count}::integer - 1) as number
      ) as moment`;
    await tx`
      insert into ended_reservations (
        tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
      )
      select
        'demo', reservation_id, 'RELEASED', 'orders/' || reservation_id,
        jsonb_build_array(jsonb_build_object('sku', sku, 'location_id', 'main', 'quantity', 1)), time,
        null, time
      from past`;
    await tx`
      insert into movements (
        tenant_id, sku, location_id, version, type, on_hand_delta, reserved_delta, on_hand_after,
        reserved_after, cause, create_time
      )
      select
        'demo', past.sku, 'main', 2 + 2 * past.number + step.later, step.type, 0, step.delta,
        ${ON_HAND}::integer,
        step.after, past.reservation_id, past.time
      from past
      cross join (
        values (0, 'RESERVE', 1, 1), (1, 'RELEASE', -1, 0)
      ) as step (later, type, delta, after)`;
    await tx`
      insert into movements (
        tenant_id, sku, location_id, version, type, on_hand_delta, reserved_delta, on_hand_after,
        reserved_after, cause, create_time
      )
      select
        'demo', sku, 'main', 1, 'ADJUST', ${ON_HAND}::integer, 0, ${ON_HAND}::integer, 0, reservation_id, time
      from past
      where number = 0`;
    await tx`
      insert into stock_levels (
        tenant_id, sku, location_id, on_hand, reserved, version, archived, reorder_point, update_time
      )
      select 'demo', sku, 'main', ${ON_HAND}::integer, 0, 1 + 2 * ${count}::integer, false, 0, now()
      from unnest(${skus}::text[]) as sku`;
  });
}
