import { inTransaction, type Sql, type Tx } from "#libs/db";
import { DomainError } from "#libs/reasons";
import type { RequestKey } from "../domain/calls.ts";
import type { Item } from "../domain/item.ts";
import { itemArchived, itemNotFound } from "../domain/stock.ts";
import { makeDefaultLocation } from "./locations.ts";
import { isRepeated } from "./requests.ts";

type ItemRow = {
  readonly sku: string;
  readonly display_name: string;
  readonly reorder_point: number;
  readonly state: Item["state"];
  readonly create_time: Date;
  readonly update_time: Date;
};

export type NewItem = Pick<Item, "sku" | "displayName" | "reorderPoint">;

export type ItemChanges = {
  readonly sku: string;
  readonly displayName: string | undefined;
  readonly reorderPoint: number | undefined;
};

/** Makes an item, once a request. Throws ITEM_EXISTS. */
export async function createItem(
  sql: Sql,
  tenant: string,
  item: NewItem,
  request?: RequestKey,
): Promise<Item> {
  return await inTransaction(sql, async (tx) => {
    if (await isRepeated(tx, tenant, request, item.sku)) return await readItem(tx, tenant, item.sku);
    await makeDefaultLocation(tx, tenant);
    const [row] = await tx<ItemRow[]>`
      insert into items (tenant_id, sku, display_name, reorder_point, state, create_time, update_time)
      select ${tenant}, ${item.sku}, ${item.displayName}, ${item.reorderPoint}, 'ACTIVE', clock.now, clock.now
      from (select clock_timestamp() as now) as clock
      on conflict do nothing
      returning sku, display_name, reorder_point, state, create_time, update_time`;
    if (row) return itemFrom(row);
    throw new DomainError("ITEM_EXISTS", `there is an item ${item.sku} already`, {
      metadata: { sku: item.sku },
      fields: [{ field: "sku", description: "is taken" }],
    });
  });
}

/** One item. Throws ITEM_NOT_FOUND. */
export async function readItem(sql: Sql | Tx, tenant: string, sku: string): Promise<Item> {
  const [row] = await sql<ItemRow[]>`
    select sku, display_name, reorder_point, state, create_time, update_time
    from items
    where tenant_id = ${tenant}
      and sku = ${sku}`;
  if (!row) throw itemNotFound(sku, "sku");
  return itemFrom(row);
}

/** Changes what is given of an item, once a request. Throws ITEM_NOT_FOUND or ITEM_ARCHIVED. */
export async function updateItem(
  sql: Sql,
  tenant: string,
  changes: ItemChanges,
  request?: RequestKey,
): Promise<Item> {
  const { sku, displayName, reorderPoint } = changes;
  return await inTransaction(sql, async (tx) => {
    if (await isRepeated(tx, tenant, request, sku)) return await readItem(tx, tenant, sku);
    const item = await lockItem(tx, tenant, sku);
    if (item.state === "ARCHIVED") throw itemArchived(sku, "sku");
    const [row] = await tx<ItemRow[]>`
      update items
      set
        display_name = ${displayName ?? item.displayName},
        reorder_point = ${reorderPoint ?? item.reorderPoint},
        update_time = clock_timestamp()
      where tenant_id = ${tenant}
        and sku = ${sku}
      returning sku, display_name, reorder_point, state, create_time, update_time`;
    if (!row) throw new Error("a locked item went away");
    if (row.reorder_point !== item.reorderPoint) await copyToLevels(tx, tenant, sku);
    return itemFrom(row);
  });
}

/** Takes an item out of sale; one that is so already stays as it is. Throws ITEM_NOT_FOUND. */
export async function archiveItem(
  sql: Sql,
  tenant: string,
  sku: string,
  request?: RequestKey,
): Promise<Item> {
  return await inTransaction(sql, async (tx) => {
    if (await isRepeated(tx, tenant, request, sku)) return await readItem(tx, tenant, sku);
    const item = await lockItem(tx, tenant, sku);
    if (item.state === "ARCHIVED") return item;
    const [row] = await tx<ItemRow[]>`
      update items
      set state = 'ARCHIVED', update_time = clock_timestamp()
      where tenant_id = ${tenant}
        and sku = ${sku}
      returning sku, display_name, reorder_point, state, create_time, update_time`;
    if (!row) throw new Error("a locked item went away");
    await copyToLevels(tx, tenant, sku);
    return itemFrom(row);
  });
}

/** A page of items behind `after`, by sku. */
export async function listItems(
  sql: Sql,
  tenant: string,
  page: { readonly after: string; readonly limit: number; readonly state: Item["state"] | undefined },
): Promise<Item[]> {
  const rows = await sql<ItemRow[]>`
    select sku, display_name, reorder_point, state, create_time, update_time
    from items
    where tenant_id = ${tenant}
      and sku > ${page.after}
      ${page.state === undefined ? sql`` : sql`and state = ${page.state}`}
    order by sku
    limit ${page.limit}`;
  return rows.map(itemFrom);
}

async function lockItem(tx: Tx, tenant: string, sku: string): Promise<Item> {
  const [row] = await tx<ItemRow[]>`
    select sku, display_name, reorder_point, state, create_time, update_time
    from items
    where tenant_id = ${tenant}
      and sku = ${sku}
    for no key update`;
  if (!row) throw itemNotFound(sku, "sku");
  return itemFrom(row);
}

// Behind the item's own lock, which whoever makes a level takes first: so no level is left out.
async function copyToLevels(tx: Tx, tenant: string, sku: string): Promise<void> {
  await tx`
    with locked as (
      select level.sku, level.location_id
      from stock_levels as level
      where level.tenant_id = ${tenant}
        and level.sku = ${sku}
      order by level.location_id
      for no key update
    )
    update stock_levels as level
    set archived = items.state = 'ARCHIVED', reorder_point = items.reorder_point
    from locked
    join items on items.tenant_id = ${tenant} and items.sku = locked.sku
    where level.tenant_id = ${tenant}
      and level.sku = locked.sku
      and level.location_id = locked.location_id`;
}

function itemFrom(row: ItemRow): Item {
  return {
    sku: row.sku,
    displayName: row.display_name,
    reorderPoint: row.reorder_point,
    state: row.state,
    createTime: row.create_time.getTime(),
    updateTime: row.update_time.getTime(),
  };
}
