/**
 * What the tests of this folder share: both databases with their tables, and rows in them as the services
 * leave them.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type Sql, uuidv7 } from "#libs/db";
import { createTestBroker, createTestDatabase } from "#libs/testing";
import type { Addresses } from "./addresses.ts";

export type Scene = {
  readonly order: Sql;
  readonly inventory: Sql;
  readonly addresses: Addresses;
  drop(): Promise<void>;
};

const services = join(import.meta.dirname, "..", "services");

/** Makes empty databases of both services, and a virtual host of the broker. */
export async function createScene(): Promise<Scene> {
  const order = await createTestDatabase(join(services, "order", "migrations"));
  const inventory = await createTestDatabase(join(services, "inventory", "migrations"));
  const broker = await createTestBroker();
  await inventory.sql`create table movements_all partition of movements default`;
  await inventory.sql`
    create table ended_all
    partition of ended_reservations
    for values from ('2020-01-01') to ('2100-01-01')`;
  return {
    order: order.sql,
    inventory: inventory.sql,
    addresses: {
      orderDatabaseUrl: order.url,
      inventoryDatabaseUrl: inventory.url,
      amqpUrl: broker.url,
    },
    drop: async () => {
      await Promise.all([order.drop(), inventory.drop(), broker.drop()]);
    },
  };
}

const tenant = "demo";

/** Writes an item with stock, its counters and its ledger. */
export async function stockItem({ inventory: sql }: Scene, sku: string, onHand: number): Promise<void> {
  await sql`
    insert into items (tenant_id, sku, display_name, reorder_point, state, create_time, update_time)
    values (${tenant}, ${sku}, ${sku}, 0, 'ACTIVE', now(), now())`;
  await sql`
    insert into stock_levels (
      tenant_id, sku, location_id, on_hand, reserved, version, archived, reorder_point, update_time
    )
    values (${tenant}, ${sku}, 'main', 0, 0, 0, false, 0, now())`;
  await move({ inventory: sql }, sku, "ADJUST", onHand, 0, randomUUID());
}

/** Changes the counters of an item, with the row of the ledger that belongs to it. */
export async function move(
  { inventory: sql }: Pick<Scene, "inventory">,
  sku: string,
  type: string,
  onHand: number,
  reserved: number,
  cause: string,
): Promise<void> {
  await sql`
    with level as (
      update stock_levels
      set on_hand = on_hand + ${onHand}, reserved = reserved + ${reserved}, version = version + 1
      where tenant_id = ${tenant}
        and sku = ${sku}
        and location_id = 'main'
      returning *
    )
    insert into movements (
      tenant_id, sku, location_id, version, type, on_hand_delta, reserved_delta, on_hand_after,
      reserved_after, cause, create_time
    )
    select
      tenant_id, sku, location_id, version, ${type}, ${onHand}::integer, ${reserved}::integer, on_hand,
      reserved, ${cause}::uuid, now()
    from level`;
}

/** Writes a live reservation of an order, with its counters and ledger. */
export async function reserve(scene: Scene, orderId: string, sku: string, quantity: number): Promise<void> {
  const { inventory: sql } = scene;
  await sql`
    insert into reservations (tenant_id, reservation_id, state, owner, lines, create_time)
    values (
      ${tenant}, ${orderId}, 'ACTIVE', ${`orders/${orderId}`},
      ${sql.json([{ sku, location_id: "main", quantity }])}, now() - interval '1 hour'
    )`;
  await sql`
    insert into reservation_lines (tenant_id, sku, location_id, reservation_id, quantity)
    values (${tenant}, ${sku}, 'main', ${orderId}, ${quantity})`;
  await move(scene, sku, "RESERVE", 0, quantity, orderId);
}

/** Ends a live reservation as an order's outcome does. */
export async function endReservation(
  scene: Scene,
  orderId: string,
  sku: string,
  quantity: number,
  state: "COMMITTED" | "RELEASED",
): Promise<void> {
  const { inventory: sql } = scene;
  await sql`delete from reservation_lines where reservation_id = ${orderId}`;
  await sql`
    with ended as (
      delete from reservations
      where reservation_id = ${orderId}
      returning *
    )
    insert into ended_reservations (tenant_id, reservation_id, state, owner, lines, create_time, end_time)
    select tenant_id, reservation_id, ${state}, owner, lines, create_time, now() - interval '30 minutes'
    from ended`;
  const isCommit = state === "COMMITTED";
  await move(scene, sku, isCommit ? "COMMIT" : "RELEASE", isCommit ? -quantity : 0, -quantity, orderId);
}

export type PlannedOrder = {
  readonly state: "RESERVING" | "PENDING" | "SETTLED" | "CANCELLED" | "EXPIRED" | "REJECTED";
  readonly sku: string;
  readonly quantity: number;
  /** Why it was rejected. */
  readonly reason?: string;
  /** How long it is since its last change, and since it fell due. */
  readonly unchangedMs?: number;
  readonly overdueMs?: number;
};

/** Writes an order in a state, an hour old if nothing is said, and returns its id. */
export async function writeOrder({ order: sql }: Scene, planned: PlannedOrder): Promise<string> {
  const orderId = uuidv7();
  const { state, sku, quantity, reason, unchangedMs = 3_600_000, overdueMs = -3_600_000 } = planned;
  const isEnded = state !== "RESERVING" && state !== "PENDING";
  const hasExpiry = state !== "RESERVING" && state !== "REJECTED";
  const states = state === "RESERVING" ? [state] : path(state);
  const changed = sql`now() - ${unchangedMs} * interval '1 millisecond'`;
  await sql`
    insert into orders (
      tenant_id, order_id, state, version, customer_id, currency, note, create_time, update_time,
      expire_time, end_time, rejection
    )
    values (
      ${tenant}, ${orderId}, ${state}, ${states.length}, 'someone', '', '', ${changed}, ${changed},
      ${
        hasExpiry
          ? sql`now() - ${state === "EXPIRED" ? unchangedMs : overdueMs} * interval '1 millisecond'`
          : null
      },
      ${isEnded ? changed : null},
      ${reason === undefined ? null : sql.json({ reason })}
    )`;
  await sql`
    insert into order_lines (tenant_id, order_id, line_number, sku, location_id, quantity, unit_amount)
    values (${tenant}, ${orderId}, 1, ${sku}, '', ${quantity}, 0)`;
  for (const [index, to] of states.entries()) {
    await sql`
      insert into order_history (
        tenant_id, order_id, sequence, from_state, to_state, create_time, actor, reason
      )
      values (${tenant}, ${orderId}, ${index + 1}, ${states[index - 1] ?? null}, ${to}, now(), 'api', '')`;
  }
  return orderId;
}

function path(state: PlannedOrder["state"]): readonly string[] {
  if (state === "PENDING" || state === "REJECTED") return ["RESERVING", state];
  return ["RESERVING", "PENDING", state];
}
