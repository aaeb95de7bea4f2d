import { names, numbers, type Tx, texts, times } from "#libs/db";
import { insertOutbox, type OutboxMessage } from "#libs/events";
import type { Book, Entry } from "../domain/book.ts";
import type { AdjustCall, RequestRecord } from "../domain/calls.ts";
import type { Line, Reservation } from "../domain/reservation.ts";
import { type Level, type Movement, placeKey } from "../domain/stock.ts";
import { linesJson } from "./rows.ts";
import { StaleRead } from "./stale.ts";

/** What a batch says beside its own tables. */
export type Announcements = {
  readonly messages: readonly OutboxMessage[];
  readonly adjustments: readonly AdjustCall[];
};

/**
 * Writes what the batch changed, each table in one statement whatever the number of calls, all of them sent
 * at once. Throws StaleRead when another instance made the same reservation or request meanwhile.
 */
export async function saveBook(tx: Tx, tenant: string, book: Book, said: Announcements): Promise<void> {
  const now = new Date(book.now);
  const entries = [...book.reservations.values()].filter((entry) => entry.before !== entry.after);
  const made = entries.filter((entry) => entry.before === undefined).map((entry) => asMade(entry.after));
  const extended = entries.filter(isExtended).map((entry) => entry.after);
  const ended = entries.filter(isEnded).map((entry) => entry.after);
  await Promise.all([
    insertReservations(tx, tenant, made),
    insertLines(tx, tenant, made),
    extendReservations(tx, tenant, extended),
    endReservations(tx, tenant, ended, now),
    deleteLines(tx, tenant, ended),
    updateLevels(tx, tenant, book),
    insertMovements(tx, tenant, book.movements),
    insertAdjustments(tx, tenant, said.adjustments, now),
    insertRequests(tx, tenant, book.newRequests, now),
    insertOutbox(tx, said.messages),
  ]);
}

// A reservation that is made and ended in one batch is written as it was made, and then ended like any other.
function asMade(reservation: Reservation): Reservation {
  if (reservation.lines.length === 0 || reservation.endTime === undefined) return reservation;
  const { endTime: _, ...made } = reservation;
  return { ...made, state: "ACTIVE" };
}

function isExtended({ before, after }: Entry): boolean {
  return before !== undefined && before.expireTime !== after.expireTime;
}

function isEnded({ after }: Entry): boolean {
  return after.state !== "ACTIVE" && after.lines.length > 0;
}

// Sorted by id, so that two instances that make the same ones wait for each other in one direction only.
async function insertReservations(tx: Tx, tenant: string, made: readonly Reservation[]): Promise<void> {
  if (made.length === 0) return;
  const sorted = [...made].sort((one, other) => (one.reservationId < other.reservationId ? -1 : 1));
  const result = await tx`
    insert into reservations (
      tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
    )
    select ${tenant}, made.*
    from unnest(
      ${names(sorted.map((one) => one.reservationId))}::uuid[],
      ${names(sorted.map((one) => one.state))}::text[],
      ${texts(sorted.map((one) => one.owner))}::text[],
      ${texts(sorted.map((one) => linesJson(one.lines)))}::jsonb[],
      ${times(sorted.map((one) => one.createTime))}::timestamptz[],
      ${times(sorted.map((one) => one.expireTime))}::timestamptz[],
      ${times(sorted.map((one) => one.endTime))}::timestamptz[]
    ) as made
    on conflict do nothing`;
  if (result.count !== made.length) throw new StaleRead("a reservation of the same id was made meanwhile");
}

async function insertLines(tx: Tx, tenant: string, made: readonly Reservation[]): Promise<void> {
  const lines = linesOf(made);
  if (lines.length === 0) return;
  await tx`
    insert into reservation_lines (tenant_id, sku, location_id, reservation_id, quantity)
    select ${tenant}, line.*
    from unnest(
      ${names(lines.map((line) => line.sku))}::text[],
      ${names(lines.map((line) => line.locationId))}::text[],
      ${names(lines.map((line) => line.reservationId))}::uuid[],
      ${numbers(lines.map((line) => line.quantity))}::integer[]
    ) as line`;
}

function linesOf(reservations: readonly Reservation[]): (Line & { readonly reservationId: string })[] {
  return reservations.flatMap((one) =>
    one.lines.map((line) => ({ ...line, reservationId: one.reservationId })),
  );
}

async function extendReservations(tx: Tx, tenant: string, extended: readonly Reservation[]): Promise<void> {
  if (extended.length === 0) return;
  const result = await tx`
    update reservations as reservation
    set expire_time = extended.expire_time
    from unnest(
      ${names(extended.map((one) => one.reservationId))}::uuid[],
      ${times(extended.map((one) => one.expireTime))}::timestamptz[]
    ) as extended (reservation_id, expire_time)
    where reservation.tenant_id = ${tenant}
      and reservation.reservation_id = extended.reservation_id
      and reservation.state = 'ACTIVE'`;
  if (result.count !== extended.length) throw new StaleRead("a reservation ended meanwhile");
}

async function endReservations(
  tx: Tx,
  tenant: string,
  ended: readonly Reservation[],
  now: Date,
): Promise<void> {
  if (ended.length === 0) return;
  const result = await tx`
    with ended as (
      delete from reservations
      where tenant_id = ${tenant}
        and reservation_id = any(${idsOf(ended)}::uuid[])
        and state = 'ACTIVE'
      returning
        reservation_id, owner, lines, create_time, expire_time,
        case
          when reservation_id = any(${idsOf(ended, "COMMITTED")}::uuid[]) then 'COMMITTED'
          when reservation_id = any(${idsOf(ended, "RELEASED")}::uuid[]) then 'RELEASED'
          else 'EXPIRED'
        end as state
    )
    insert into ended_reservations (
      tenant_id, reservation_id, state, owner, lines, create_time, expire_time, end_time
    )
    select ${tenant}, reservation_id, state, owner, lines, create_time, expire_time, ${now}::timestamptz
    from ended`;
  if (result.count !== ended.length) throw new StaleRead("a reservation ended meanwhile");
}

function idsOf(reservations: readonly Reservation[], state?: Reservation["state"]): string {
  const wanted = reservations.filter((one) => state === undefined || one.state === state);
  return names(wanted.map((one) => one.reservationId));
}

async function deleteLines(tx: Tx, tenant: string, ended: readonly Reservation[]): Promise<void> {
  const lines = linesOf(ended);
  if (lines.length === 0) return;
  await tx`
    delete from reservation_lines as line
    using unnest(
      ${names(lines.map((line) => line.sku))}::text[],
      ${names(lines.map((line) => line.locationId))}::text[],
      ${names(lines.map((line) => line.reservationId))}::uuid[]
    ) as ended (sku, location_id, reservation_id)
    where line.tenant_id = ${tenant}
      and line.sku = ended.sku
      and line.location_id = ended.location_id
      and line.reservation_id = ended.reservation_id`;
}

async function updateLevels(tx: Tx, tenant: string, book: Book): Promise<void> {
  const levels = changedLevels(book);
  if (levels.length === 0) return;
  const result = await tx`
    update stock_levels as level
    set
      on_hand = changed.on_hand,
      reserved = changed.reserved,
      version = changed.version,
      update_time = changed.update_time
    from unnest(
      ${names(levels.map((level) => level.sku))}::text[],
      ${names(levels.map((level) => level.locationId))}::text[],
      ${numbers(levels.map((level) => level.onHand))}::integer[],
      ${numbers(levels.map((level) => level.reserved))}::integer[],
      ${numbers(levels.map((level) => level.version))}::bigint[],
      ${times(levels.map((level) => level.updateTime))}::timestamptz[]
    ) as changed (sku, location_id, on_hand, reserved, version, update_time)
    where level.tenant_id = ${tenant}
      and level.sku = changed.sku
      and level.location_id = changed.location_id`;
  if (result.count !== levels.length)
    throw new Error(`${result.count} of ${levels.length} levels were there`);
}

function changedLevels(book: Book): Level[] {
  const changed = new Map<string, Level>();
  for (const movement of book.movements) {
    const key = placeKey(movement);
    const level = book.levels.get(key);
    if (level && !("absent" in level)) changed.set(key, level);
  }
  return [...changed.values()];
}

async function insertMovements(tx: Tx, tenant: string, movements: readonly Movement[]): Promise<void> {
  if (movements.length === 0) return;
  await tx`
    insert into movements (
      tenant_id, sku, location_id, version, type, on_hand_delta, reserved_delta, on_hand_after,
      reserved_after, cause, create_time
    )
    select ${tenant}, movement.*
    from unnest(
      ${names(movements.map((movement) => movement.sku))}::text[],
      ${names(movements.map((movement) => movement.locationId))}::text[],
      ${numbers(movements.map((movement) => movement.version))}::bigint[],
      ${names(movements.map((movement) => movement.type))}::text[],
      ${numbers(movements.map((movement) => movement.onHandDelta))}::integer[],
      ${numbers(movements.map((movement) => movement.reservedDelta))}::integer[],
      ${numbers(movements.map((movement) => movement.onHandAfter))}::integer[],
      ${numbers(movements.map((movement) => movement.reservedAfter))}::integer[],
      ${names(movements.map((movement) => movement.cause))}::uuid[],
      ${times(movements.map((movement) => movement.createTime))}::timestamptz[]
    ) as movement`;
}

async function insertAdjustments(
  tx: Tx,
  tenant: string,
  adjustments: readonly AdjustCall[],
  now: Date,
): Promise<void> {
  if (adjustments.length === 0) return;
  await tx`
    insert into adjustments (tenant_id, adjustment_id, reason, reference, create_time)
    select ${tenant}, adjustment.*, ${now}::timestamptz
    from unnest(
      ${names(adjustments.map((one) => one.adjustmentId))}::uuid[],
      ${texts(adjustments.map((one) => one.reason))}::text[],
      ${texts(adjustments.map((one) => one.reference))}::text[]
    ) as adjustment`;
}

// Sorted by id, like reservations.
async function insertRequests(
  tx: Tx,
  tenant: string,
  requests: readonly RequestRecord[],
  now: Date,
): Promise<void> {
  if (requests.length === 0) return;
  const sorted = [...requests].sort((one, other) => (one.requestId < other.requestId ? -1 : 1));
  const responses = sorted.map(({ movements }) => (movements ? JSON.stringify(movements) : undefined));
  const result = await tx`
    insert into requests (tenant_id, request_id, request_hash, resource, response, create_time)
    select ${tenant}, request.*, ${now}::timestamptz
    from unnest(
      ${names(sorted.map((one) => one.requestId))}::uuid[],
      ${names(sorted.map((one) => one.hash))}::text[],
      ${names(sorted.map((one) => one.resource))}::text[],
      ${texts(responses)}::jsonb[]
    ) as request
    on conflict do nothing`;
  if (result.count !== requests.length) throw new StaleRead("the same request took effect meanwhile");
}
