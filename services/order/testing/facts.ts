/** What the tests of this service ask again and again. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { Sql } from "#libs/db";
import { DomainError, type Reason } from "#libs/reasons";

/** What a call wants that brings a payment, and wants it given back if it comes late. */
export function settling(paymentReference = "") {
  const lateReservationId = "0198c0de-0000-7000-8000-00000000aaaa";
  return { kind: "settle", paymentReference, latePolicy: "REFUSE", lateReservationId } as const;
}

/** Asserts that the promise rejects with a DomainError of this reason, and returns it. */
export async function rejectsWith(reason: Reason, promise: Promise<unknown>): Promise<DomainError> {
  const outcome = await promise.then(
    () => "no error",
    (error: unknown) => error,
  );
  if (!(outcome instanceof DomainError)) {
    throw outcome instanceof Error ? outcome : new Error(`expected ${reason}, got ${String(outcome)}`);
  }
  assert.equal(outcome.reason, reason, outcome.message);
  return outcome;
}

const POLL_MS = 20;

/** Waits until the fact holds; fails when it does not within the time. */
export async function eventually(
  fact: () => Promise<boolean>,
  what: string,
  limitMs = 10_000,
): Promise<void> {
  const until = performance.now() + limitMs;
  while (!(await fact())) {
    assert.ok(performance.now() < until, `not within ${limitMs} ms: ${what}`);
    await pause(POLL_MS);
  }
}

/** The states that an order went through, and who brought it there. */
export async function historyOf(sql: Sql, orderId: string): Promise<string[]> {
  const rows = await sql<{ entry: string }[]>`
    select sequence || ' ' || to_state || ' ' || actor as entry
    from order_history
    where order_id = ${orderId}
    order by sequence`;
  return rows.map((row) => row.entry);
}

/** The types of the events in the outbox, sorted. */
export async function eventsIn(sql: Sql): Promise<string[]> {
  const rows = await sql<{ type: string }[]>`select type from outbox order by type`;
  return rows.map((row) => row.type.replace("holdfast.order.v1.", ""));
}

/** Makes a PENDING order's time run out, as waiting would. */
export async function letFallDue(sql: Sql, orderIds: readonly string[], overdueMs = 100): Promise<void> {
  await sql`
    update orders
    set
      create_time = create_time - interval '1 hour',
      expire_time = now() - ${overdueMs} * interval '1 millisecond'
    where order_id = any(${`{${orderIds.join(",")}}`}::uuid[])`;
}

/** The number of rows in the tables that a placed order writes to. */
export async function rowCounts(sql: Sql): Promise<Record<string, number>> {
  const [row] = await sql<Record<string, number>[]>`
    select
      (select count(*)::int from orders) as orders,
      (select count(*)::int from order_lines) as lines,
      (select count(*)::int from order_history) as history,
      (select count(*)::int from requests) as requests,
      (select count(*)::int from outbox) as outbox`;
  return row ?? {};
}
