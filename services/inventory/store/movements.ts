import type { Sql, Tx } from "#libs/db";
import type { Movement } from "../domain/stock.ts";
import { type MovementRow, movementFrom } from "./rows.ts";

export type MovementKey = {
  readonly createTime: number;
  readonly locationId: string;
  readonly version: number;
};

/**
 * A page of an item's ledger behind `after`, newest first; at one location, or at all ("") merged by time,
 * then by location. Within a location times never run backwards along the chain, so the newest of each are
 * merged: a page reads no more than itself from each location.
 */
export async function listMovements(
  sql: Sql | Tx,
  tenant: string,
  page: {
    readonly sku: string;
    readonly locationId: string;
    readonly after: MovementKey | undefined;
    readonly limit: number;
  },
): Promise<Movement[]> {
  const { sku, locationId, after, limit } = page;
  const behind = after
    ? sql`
      and movement.create_time <= ${new Date(after.createTime)}
      and (
        movement.create_time < ${new Date(after.createTime)}
        or level.location_id > ${after.locationId}
        or (level.location_id = ${after.locationId} and movement.version < ${after.version})
      )
      and movement.version < case
        when level.location_id = ${after.locationId} then ${after.version}
        else level.version + 1
      end`
    : sql``;
  const rows = await sql<MovementRow[]>`
    select newest.*, adjustment.reason, adjustment.reference
    from stock_levels as level
    cross join lateral (
      select
        movement.sku, movement.location_id, movement.version, movement.type, movement.on_hand_delta,
        movement.reserved_delta, movement.on_hand_after, movement.reserved_after, movement.cause,
        movement.create_time
      from movements as movement
      where movement.tenant_id = ${tenant}
        and movement.sku = level.sku
        and movement.location_id = level.location_id
        ${behind}
      order by movement.version desc
      limit ${limit}
    ) as newest
    left join adjustments as adjustment
      on newest.type = 'ADJUST'
      and adjustment.tenant_id = ${tenant}
      and adjustment.adjustment_id = newest.cause
    where level.tenant_id = ${tenant}
      and level.sku = ${sku}
      ${locationId === "" ? sql`` : sql`and level.location_id = ${locationId}`}
    order by newest.create_time desc, newest.location_id, newest.version desc
    limit ${limit}`;
  return rows.map(movementFrom);
}
