/** Lays down stock for a scenario, and checks what became of it. */
import type { Sql } from "#libs/db";
import type { Ground } from "./ground.ts";
import { type Load, sumOutcomes } from "./load.ts";
import type { Notes } from "./report.ts";
import { OK } from "./wire/client.ts";

/** More than any run takes of one sku. */
const PLENTY = 500_000_000;
const CHANGES_A_CALL = 100;
const CALLS_AT_ONCE = 64;
const SKUS_A_VERIFICATION = 500;

/** Creates the items and fills their shelves, by the API. */
export async function layStock(ground: Ground, skus: readonly string[], units = PLENTY): Promise<void> {
  await inGroups(skus, CALLS_AT_ONCE, async (group) => {
    await Promise.all(group.map((sku) => ground.inventory.createItem({ sku, displayName: sku })));
  });
  await inGroups(skus, CHANGES_A_CALL, async (group) => {
    const changes = group.map((sku) => ({ sku, delta: units }));
    await ground.inventory.adjustStock({ changes, reason: "laid down for a benchmark" });
  });
}

/** Fills the shelves of the reference. */
export async function layReferenceStock(sql: Sql, skus: readonly string[]): Promise<void> {
  await sql`
    insert into levels (tenant_id, sku, on_hand, reserved)
    select 'demo', sku, ${PLENTY}, 0
    from unnest(${skus}::text[]) as sku`;
}

/**
 * Checks that the ledger, the counters and the live reservations of these skus agree, and that as many units
 * are reserved as callers were told.
 */
export async function checkStock(
  ground: Ground,
  notes: Notes,
  what: string,
  skus: readonly string[],
  reservedUnits: number,
): Promise<void> {
  await checkStockIn(ground.inventory, ground.inventorySql, notes, what, skus, reservedUnits);
}

/** The same for any instance of Inventory and its database. */
export async function checkStockIn(
  inventory: Ground["inventory"],
  sql: Sql,
  notes: Notes,
  what: string,
  skus: readonly string[],
  reservedUnits: number,
): Promise<void> {
  let differences = 0;
  let levels = 0;
  await inGroups(skus, SKUS_A_VERIFICATION, async (group) => {
    const verified = await inventory.verifyStock({ skus: [...group] });
    differences += verified.differences.length;
    levels += verified.levelsChecked;
  });
  const verification = `${levels} levels, ${differences} differences`;
  notes.check(`${what}: VerifyStock`, differences === 0 && levels === skus.length, verification);
  const counters = await reservedBy(sql, skus);
  const live = await livePromises(sql, skus);
  const agree = counters === reservedUnits && live === reservedUnits;
  const units = `${reservedUnits} promised to callers, ${counters} counted, ${live} in live reservations`;
  notes.check(`${what}: reserved units`, agree, units);
}

/** Checks that as many units are reserved in the reference as callers were told, so that it did the work. */
export async function checkReference(
  sql: Sql,
  notes: Notes,
  skus: readonly string[],
  reservedUnits: number,
): Promise<void> {
  const [row] = await sql<{ counted: bigint; live: bigint }[]>`
    select
      (select sum(reserved) from levels where sku = any(${skus}::text[]))::bigint as counted,
      (select sum(quantity) from reservations where sku = any(${skus}::text[]))::bigint as live`;
  const [counted, live] = [Number(row?.counted), Number(row?.live)];
  const detail = `${reservedUnits} promised to callers, ${counted} counted, ${live} in reservations`;
  notes.check("reference: reserved units", counted === reservedUnits && live === reservedUnits, detail);
}

/** Checks that no call of these loads failed. */
export function checkNoFailures(notes: Notes, what: string, loads: readonly Load[]): void {
  const failures = [...sumOutcomes(loads)].filter(([outcome]) => outcome !== OK);
  const detail = failures.map(([outcome, count]) => `${count} ${outcome}`).join(", ");
  notes.check(`${what}: every call succeeded`, failures.length === 0, detail);
}

/** What a caller is told who comes when there is more to do than can be done: come again. */
export const REFUSED = "ResourceExhausted";
/** What he is told whose deadline passed: the call may still have taken effect. */
export const LATE = "DeadlineExceeded";

/** Checks that calls of these loads were taken, refused or told that it got too late, and nothing else. */
export function checkTakenOrRefused(notes: Notes, what: string, loads: readonly Load[]): void {
  const outcomes = sumOutcomes(loads);
  const others = [...outcomes].filter(([outcome]) => ![OK, REFUSED, LATE].includes(outcome));
  const detail = [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(", ");
  notes.check(`${what}: taken, refused or too late, nothing else`, others.length === 0, detail);
}

/** How many units of work of these loads succeeded, those outside the measured time too. */
export function succeeded(loads: readonly Load[]): number {
  return sumOutcomes(loads).get(OK) ?? 0;
}

/** What the counters of these skus say. */
export async function reservedBy(sql: Sql, skus: readonly string[]): Promise<number> {
  const [row] = await sql<{ units: bigint | null }[]>`
    select sum(reserved)::bigint as units
    from stock_levels
    where tenant_id = 'demo'
      and sku = any(${skus}::text[])`;
  return Number(row?.units ?? 0);
}

async function livePromises(sql: Sql, skus: readonly string[]): Promise<number> {
  const [row] = await sql<{ units: bigint | null }[]>`
    select sum(line.quantity)::bigint as units
    from reservation_lines as line
    join reservations as reservation
      on reservation.tenant_id = line.tenant_id
      and reservation.reservation_id = line.reservation_id
    where line.tenant_id = 'demo'
      and line.sku = any(${skus}::text[])
      and reservation.state = 'ACTIVE'`;
  return Number(row?.units ?? 0);
}

async function inGroups<Item>(
  items: readonly Item[],
  size: number,
  work: (group: readonly Item[]) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < items.length; from += size) await work(items.slice(from, from + size));
}
