import { inTransaction, type Sql, type Tx } from "#libs/db";
import { DomainError } from "#libs/reasons";
import type { RequestKey } from "../domain/calls.ts";
import type { Location } from "../domain/item.ts";
import { DEFAULT_LOCATION } from "../domain/limits.ts";
import { isRepeated } from "./requests.ts";

type LocationRow = {
  readonly location_id: string;
  readonly display_name: string;
  readonly create_time: Date;
};

export type NewLocation = Pick<Location, "locationId" | "displayName">;

/** Makes a location, once a request. Throws LOCATION_EXISTS. */
export async function createLocation(
  sql: Sql,
  tenant: string,
  location: NewLocation,
  request?: RequestKey,
): Promise<Location> {
  const { locationId, displayName } = location;
  return await inTransaction(sql, async (tx) => {
    if (await isRepeated(tx, tenant, request, locationId)) return await readLocation(tx, tenant, locationId);
    await makeDefaultLocation(tx, tenant);
    const [row] = await tx<LocationRow[]>`
      insert into locations (tenant_id, location_id, display_name, create_time)
      values (${tenant}, ${locationId}, ${displayName}, clock_timestamp())
      on conflict do nothing
      returning location_id, display_name, create_time`;
    if (row) return locationFrom(row);
    throw new DomainError("LOCATION_EXISTS", `there is a location ${locationId} already`, {
      metadata: { location_id: locationId },
      fields: [{ field: "location_id", description: "is taken" }],
    });
  });
}

/** A page of locations behind `after`, by location_id. */
export async function listLocations(
  sql: Sql,
  tenant: string,
  page: { readonly after: string; readonly limit: number },
): Promise<Location[]> {
  await makeDefaultLocation(sql, tenant);
  const rows = await sql<LocationRow[]>`
    select location_id, display_name, create_time
    from locations
    where tenant_id = ${tenant}
      and location_id > ${page.after}
    order by location_id
    limit ${page.limit}`;
  return rows.map(locationFrom);
}

/** The tenants that have locations, and so all that may have stock: few rows each. */
export async function tenantsWithStock(sql: Sql): Promise<string[]> {
  const rows = await sql<{ tenant_id: string }[]>`
    select distinct tenant_id
    from locations
    order by tenant_id`;
  return rows.map((row) => row.tenant_id);
}

/**
 * Makes the location that every tenant has, where nobody has yet. Every tenant makes an item before it has
 * stock.
 */
export async function makeDefaultLocation(sql: Sql | Tx, tenant: string): Promise<void> {
  await sql`
    insert into locations (tenant_id, location_id, display_name, create_time)
    select ${tenant}, ${DEFAULT_LOCATION}, 'Main', clock_timestamp()
    where not exists (
      select from locations
      where tenant_id = ${tenant}
        and location_id = ${DEFAULT_LOCATION}
    )
    on conflict do nothing`;
}

async function readLocation(tx: Tx, tenant: string, locationId: string): Promise<Location> {
  const [row] = await tx<LocationRow[]>`
    select location_id, display_name, create_time
    from locations
    where tenant_id = ${tenant}
      and location_id = ${locationId}`;
  if (!row) throw new Error("a location that a request made is not there");
  return locationFrom(row);
}

function locationFrom(row: LocationRow): Location {
  return {
    locationId: row.location_id,
    displayName: row.display_name,
    createTime: row.create_time.getTime(),
  };
}
