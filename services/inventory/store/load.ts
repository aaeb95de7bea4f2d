import { databaseNow, names, type Tx } from "#libs/db";
import { type Book, openBook } from "../domain/book.ts";
import type { RequestRecord, StockCall } from "../domain/calls.ts";
import type { Reservation } from "../domain/reservation.ts";
import { type Absence, comparePlaces, type Level, type Place, placeKey } from "../domain/stock.ts";
import { readAbsences } from "./absences.ts";
import { earliestEndOf } from "./ended.ts";
import {
  type LevelRow,
  levelFrom,
  type RequestRow,
  type ReservationRow,
  requestFrom,
  reservationFrom,
} from "./rows.ts";
import { StaleRead } from "./stale.ts";

/**
 * Reads all that the calls touch, with their levels locked in order. What is read after the locks were
 * taken is stable: whoever ends a reservation locks the levels of its lines first.
 */
export async function loadBook(tx: Tx, tenant: string, calls: readonly StockCall[]): Promise<Book> {
  const places = new Map<string, Place>();
  const wanted = (place: Place) =>
    places.set(placeKey(place), { sku: place.sku, locationId: place.locationId });
  const ids = new Set<string>();
  const touched = new Set<string>();
  const requestIds = new Set<string>();
  let adjusts = false;
  for (const call of calls) {
    if (call.request) requestIds.add(call.request.requestId);
    if (call.kind === "adjust") {
      adjusts = true;
      call.changes.forEach(wanted);
    } else if (call.kind === "reserve") {
      if (!call.minted) ids.add(call.reservationId);
      if (call.replaces !== undefined) {
        ids.add(call.replaces);
        touched.add(call.replaces);
      }
      call.lines.forEach(wanted);
    } else {
      ids.add(call.reservationId);
      touched.add(call.reservationId);
    }
  }
  if (adjusts) await makeLevels(tx, tenant, calls);
  if (touched.size > 0) {
    for (const { lines } of await readLive(tx, tenant, [...touched])) lines.forEach(wanted);
  }
  const [levelRows, found, requests] = await Promise.all([
    lockLevels(tx, tenant, [...places.values()]),
    readReservations(tx, tenant, [...ids]),
    readRequests(tx, tenant, [...requestIds]),
  ]);
  const levels = await withAbsences(tx, tenant, places, levelRows);
  refuseStale(calls, found, touched, levels);
  const reservations = [...found, ...(await readResources(tx, tenant, ids, repeatedOf(calls, requests)))];
  return openBook({
    now: (levelRows.at(-1)?.now ?? (await databaseNow(tx))).getTime(),
    levels,
    reservations,
    requests: new Map(requests.map((request) => [request.requestId, request])),
  });
}

/** A reservation by its id, live or ended, as one snapshot has it. */
export async function readReservations(
  tx: Tx,
  tenant: string,
  reservationIds: readonly string[],
): Promise<Reservation[]> {
  if (reservationIds.length === 0) return [];
  const ids = names(reservationIds);
  const rows = await tx<ReservationRow[]>`
    select reservation_id, state, owner, lines, create_time, expire_time, end_time
    from reservations
    where tenant_id = ${tenant}
      and reservation_id = any(${ids}::uuid[])
    union all
    select reservation_id, state, owner, lines, create_time, expire_time, end_time
    from ended_reservations
    where tenant_id = ${tenant}
      and reservation_id = any(${ids}::uuid[])
      and end_time >= ${earliestEndOf(reservationIds, Date.now())}
      and end_time < now() + interval '1 hour'`;
  return rows.map(reservationFrom);
}

// Places without a level yet get an empty one, so that there is a row to lock. The item is locked against
// archiving.
async function makeLevels(tx: Tx, tenant: string, calls: readonly StockCall[]): Promise<void> {
  const changes = calls.flatMap((call) => (call.kind === "adjust" ? call.changes : []));
  await tx`
    insert into stock_levels (
      tenant_id, sku, location_id, on_hand, reserved, version, archived, reorder_point, update_time
    )
    select
      items.tenant_id, items.sku, locations.location_id, 0, 0, 0, items.state = 'ARCHIVED',
      items.reorder_point, clock_timestamp()
    from (
      select distinct sku, location_id
      from unnest(
        ${names(changes.map((change) => change.sku))}::text[],
        ${names(changes.map((change) => change.locationId))}::text[]
      ) as change (sku, location_id)
    ) as place
    join items on items.tenant_id = ${tenant} and items.sku = place.sku
    join locations on locations.tenant_id = ${tenant} and locations.location_id = place.location_id
    where not exists (
      select from stock_levels as level
      where level.tenant_id = ${tenant}
        and level.sku = place.sku
        and level.location_id = place.location_id
    )
    order by items.sku, locations.location_id
    for share of items
    on conflict do nothing`;
}

async function readLive(tx: Tx, tenant: string, ids: readonly string[]): Promise<Reservation[]> {
  const rows = await tx<ReservationRow[]>`
    select reservation_id, state, owner, lines, create_time, expire_time, end_time
    from reservations
    where tenant_id = ${tenant}
      and reservation_id = any(${names(ids)}::uuid[])`;
  return rows.map(reservationFrom);
}

type LockedRow = LevelRow & { readonly now: Date };

// Row by row, in the order of the list: the lock is inside the lateral query. Each row tells when it was
// had, so the last one tells when all were.
async function lockLevels(tx: Tx, tenant: string, places: readonly Place[]): Promise<LockedRow[]> {
  if (places.length === 0) return [];
  const sorted = [...places].sort(comparePlaces);
  return await tx<LockedRow[]>`
    select level.*, clock_timestamp()::timestamptz(3) as now
    from unnest(
      ${names(sorted.map((place) => place.sku))}::text[],
      ${names(sorted.map((place) => place.locationId))}::text[]
    ) as place (sku, location_id)
    cross join lateral (
      select sku, location_id, on_hand, reserved, version, archived, reorder_point, update_time
      from stock_levels
      where tenant_id = ${tenant}
        and sku = place.sku
        and location_id = place.location_id
      for no key update
    ) as level`;
}

async function readRequests(tx: Tx, tenant: string, ids: readonly string[]): Promise<RequestRecord[]> {
  if (ids.length === 0) return [];
  const rows = await tx<RequestRow[]>`
    select request_id, request_hash, resource, response
    from requests
    where tenant_id = ${tenant}
      and request_id = any(${names(ids)}::uuid[])`;
  return rows.map(requestFrom);
}

// An id that was used for something else is refused, and what that made need not be a reservation.
function repeatedOf(calls: readonly StockCall[], requests: readonly RequestRecord[]): RequestRecord[] {
  const asked = new Set(calls.map(({ request }) => request && `${request.requestId} ${request.hash}`));
  return requests.filter(({ requestId, hash }) => asked.has(`${requestId} ${hash}`));
}

// What a request made before is answered as it is now, under whatever id.
async function readResources(
  tx: Tx,
  tenant: string,
  known: ReadonlySet<string>,
  requests: readonly RequestRecord[],
): Promise<Reservation[]> {
  const ids = new Set<string>();
  for (const { resource, movements } of requests) if (!movements && !known.has(resource)) ids.add(resource);
  return await readReservations(tx, tenant, [...ids]);
}

async function withAbsences(
  tx: Tx,
  tenant: string,
  places: ReadonlyMap<string, Place>,
  rows: readonly LevelRow[],
): Promise<Map<string, Level | Absence>> {
  const levels = new Map<string, Level | Absence>();
  for (const row of rows) {
    const level = levelFrom(row);
    levels.set(placeKey(level), level);
  }
  const missing = [...places.entries()].filter(([key]) => !levels.has(key)).map(([, place]) => place);
  for (const [key, absence] of await readAbsences(tx, tenant, missing)) levels.set(key, absence);
  return levels;
}

function refuseStale(
  calls: readonly StockCall[],
  found: readonly Reservation[],
  touched: ReadonlySet<string>,
  levels: ReadonlyMap<string, Level | Absence>,
): void {
  for (const { reservationId, state, lines } of found) {
    if (state !== "ACTIVE" || !touched.has(reservationId)) continue;
    if (lines.some((line) => !levels.has(placeKey(line))))
      throw new StaleRead("a reservation came up meanwhile");
  }
  for (const call of calls) {
    if (call.kind !== "adjust") continue;
    for (const change of call.changes) {
      const level = levels.get(placeKey(change));
      if (level && "absent" in level && level.absent === "LEVEL")
        throw new StaleRead("an item came up meanwhile");
    }
  }
}
