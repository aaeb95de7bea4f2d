import { inTransaction, names, type Sql, type Tx } from "#libs/db";
import { type Stock, stockOf } from "../domain/item.ts";
import { RECENT_MOVEMENTS } from "../domain/limits.ts";
import {
  type Absence,
  itemNotFound,
  type Level,
  type Movement,
  type Place,
  placeKey,
} from "../domain/stock.ts";
import { readAbsences } from "./absences.ts";
import { listMovements } from "./movements.ts";
import { type LevelRow, levelFrom } from "./rows.ts";

type StockRow = { readonly item_sku: string } & { readonly [Name in keyof LevelRow]: LevelRow[Name] | null };

export type Holder = {
  readonly reservationId: string;
  readonly owner: string;
  readonly locationId: string;
  readonly quantity: number;
  readonly createTime: number;
  readonly expireTime: number | undefined;
};

export type HolderKey = { readonly locationId: string; readonly reservationId: string };

export type Explanation = {
  readonly stock: Stock;
  readonly holders: readonly Holder[];
  readonly holderCount: number;
  readonly recentMovements: readonly Movement[];
};

/** The stock of one item. Throws ITEM_NOT_FOUND. */
export async function readStock(sql: Sql | Tx, tenant: string, sku: string): Promise<Stock> {
  const [stock] = await selectStock(sql, tenant, { skus: [sku], after: "", limit: 1 });
  if (!stock) throw itemNotFound(sku, "sku");
  return stock;
}

/** A page of stock behind `after`, by sku; of these items only, if any are given. */
export async function listStock(
  sql: Sql,
  tenant: string,
  page: { readonly skus: readonly string[]; readonly after: string; readonly limit: number },
): Promise<Stock[]> {
  return await selectStock(sql, tenant, page);
}

/** What is there of each place, by placeKey: its level, or why it has none. Locks nothing. */
export async function readPlaces(
  sql: Sql,
  tenant: string,
  places: readonly Place[],
): Promise<Map<string, Level | Absence>> {
  const rows = await sql<LevelRow[]>`
    select
      level.sku, level.location_id, level.on_hand, level.reserved, level.version, level.archived,
      level.reorder_point, level.update_time
    from unnest(
      ${names(places.map((place) => place.sku))}::text[],
      ${names(places.map((place) => place.locationId))}::text[]
    ) as place (sku, location_id)
    join stock_levels as level
      on level.tenant_id = ${tenant}
      and level.sku = place.sku
      and level.location_id = place.location_id`;
  const found = new Map<string, Level | Absence>();
  for (const level of rows.map(levelFrom)) found.set(placeKey(level), level);
  const missing = places.filter((place) => !found.has(placeKey(place)));
  for (const [key, absence] of await readAbsences(sql, tenant, missing)) found.set(key, absence);
  return found;
}

/** Why an item's numbers are what they are, in one snapshot. Throws ITEM_NOT_FOUND. */
export async function explainStock(
  sql: Sql,
  tenant: string,
  sku: string,
  page: { readonly after: HolderKey | undefined; readonly limit: number },
): Promise<Explanation> {
  return await inTransaction(
    sql,
    async (tx) => {
      const stock = await readStock(tx, tenant, sku);
      const [holders, holderCount, recentMovements] = await Promise.all([
        selectHolders(tx, tenant, sku, page),
        countHolders(tx, tenant, sku),
        listMovements(tx, tenant, { sku, locationId: "", after: undefined, limit: RECENT_MOVEMENTS }),
      ]);
      return { stock, holders, holderCount, recentMovements };
    },
    { mode: "isolation level repeatable read read only" },
  );
}

// A level of version 0 was made to be locked and has not had a movement yet.
async function selectStock(
  sql: Sql | Tx,
  tenant: string,
  page: { readonly skus: readonly string[]; readonly after: string; readonly limit: number },
): Promise<Stock[]> {
  const rows = await sql<StockRow[]>`
    select
      page.sku as item_sku, level.sku, level.location_id, level.on_hand, level.reserved, level.version,
      level.archived, level.reorder_point, level.update_time
    from (
      select sku
      from items
      where tenant_id = ${tenant}
        and sku > ${page.after}
        ${page.skus.length === 0 ? sql`` : sql`and sku = any(${names(page.skus)}::text[])`}
      order by sku
      limit ${page.limit}
    ) as page
    left join stock_levels as level
      on level.tenant_id = ${tenant}
      and level.sku = page.sku
      and level.version > 0
    order by page.sku, level.location_id`;
  const levels = new Map<string, Level[]>();
  for (const row of rows) {
    const list = levels.get(row.item_sku) ?? [];
    levels.set(row.item_sku, list);
    if (isLevel(row)) list.push(levelFrom(row));
  }
  return [...levels].map(([sku, list]) => stockOf(sku, list));
}

function isLevel(row: StockRow): row is StockRow & LevelRow {
  return row.sku !== null;
}

type HolderRow = {
  readonly reservation_id: string;
  readonly owner: string;
  readonly location_id: string;
  readonly quantity: number;
  readonly create_time: Date;
  readonly expire_time: Date | null;
};

async function selectHolders(
  tx: Tx,
  tenant: string,
  sku: string,
  { after, limit }: { readonly after: HolderKey | undefined; readonly limit: number },
): Promise<Holder[]> {
  const behind = after
    ? tx`and (location_id, reservation_id) > (${after.locationId}, ${after.reservationId}::uuid)`
    : tx``;
  const rows = await tx<HolderRow[]>`
    select
      line.reservation_id, reservation.owner, line.location_id, line.quantity, reservation.create_time,
      reservation.expire_time
    from (
      select location_id, reservation_id, quantity
      from reservation_lines
      where tenant_id = ${tenant}
        and sku = ${sku}
        ${behind}
      order by location_id, reservation_id
      limit ${limit}
    ) as line
    join reservations as reservation
      on reservation.tenant_id = ${tenant}
      and reservation.reservation_id = line.reservation_id
    order by line.location_id, line.reservation_id`;
  return rows.map((row) => ({
    reservationId: row.reservation_id,
    owner: row.owner,
    locationId: row.location_id,
    quantity: row.quantity,
    createTime: row.create_time.getTime(),
    expireTime: row.expire_time?.getTime(),
  }));
}

async function countHolders(tx: Tx, tenant: string, sku: string): Promise<number> {
  const [row] = await tx<{ count: number }[]>`
    select count(*)::integer as count
    from reservation_lines
    where tenant_id = ${tenant}
      and sku = ${sku}`;
  return row?.count ?? 0;
}
