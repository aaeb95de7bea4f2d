import { names, type Sql, type Tx } from "#libs/db";
import { type Absence, type Place, placeKey } from "../domain/stock.ts";

type AbsenceRow = {
  readonly sku: string;
  readonly location_id: string;
  readonly item_state: string | null;
  readonly has_location: boolean;
};

/**
 * Why places have no level, by placeKey: read only for those that were not found, so that it costs the
 * others nothing.
 */
export async function readAbsences(
  sql: Sql | Tx,
  tenant: string,
  places: readonly Place[],
): Promise<Map<string, Absence>> {
  if (places.length === 0) return new Map();
  const rows = await sql<AbsenceRow[]>`
    select
      place.sku,
      place.location_id,
      (select state from items where tenant_id = ${tenant} and sku = place.sku) as item_state,
      exists (
        select from locations where tenant_id = ${tenant} and location_id = place.location_id
      ) as has_location
    from unnest(
      ${names(places.map((place) => place.sku))}::text[],
      ${names(places.map((place) => place.locationId))}::text[]
    ) as place (sku, location_id)`;
  return new Map(
    rows.map((row) => [placeKey({ sku: row.sku, locationId: row.location_id }), absenceFrom(row)]),
  );
}

function absenceFrom(row: AbsenceRow): Absence {
  if (row.item_state === null) return { absent: "ITEM", archived: false };
  return { absent: row.has_location ? "LEVEL" : "LOCATION", archived: row.item_state === "ARCHIVED" };
}
