import { booleans, bytes, type Fragment, names, type Sql, type Tx, texts, times, uuids } from "#libs/db";
import type { OutboxMessage } from "./message.ts";

/** A message as a relay took it from the table. */
export type ClaimedMessage = OutboxMessage & {
  /** How long until a nudge is due by the database's clock, which alone decides; 0 for an event. */
  readonly dueInMs: number;
};

/** What identifies a row. */
export type OutboxKey = { readonly tenant: string; readonly outboxId: string };

/**
 * How long a new event is left to the process that wrote it, which publishes it from memory right after the
 * commit. If it doesn't (it died, the broker was away), a relay finds the row after this time.
 */
export const WRITER_LEASE_MS = 3_000;

/**
 * Writes the messages in one statement; they are sent if and only if the transaction commits. After the
 * commit give the same messages to `relay.publish`.
 */
export async function insertOutbox(tx: Tx, messages: readonly OutboxMessage[]): Promise<void> {
  if (messages.length > 0) await outboxInsertion(tx, messages);
}

/**
 * The statement of insertOutbox, for a part of another one, which may choose among the messages: by a `where`
 * behind it that asks for their outbox_id or due_time.
 */
export function outboxInsertion(sql: Sql | Tx, messages: readonly OutboxMessage[]): Fragment {
  return sql`
    insert into outbox (
      tenant_id, outbox_id, type, body, mandatory, correlation_id, traceparent, nudge_queue, due_time,
      next_attempt_time
    )
    select
      tenant_id, outbox_id, type, body, mandatory, correlation_id, traceparent, nudge_queue, due_time,
      -- The way of a nudge depends on the database's clock, so it goes through a claim and is due at once.
      case
        when due_time is null then clock_timestamp() + ${WRITER_LEASE_MS} * interval '1 millisecond'
        else clock_timestamp()
      end
    from unnest(
      ${texts(messages.map(({ tenant }) => tenant))}::text[],
      ${uuids(messages.map(({ outboxId }) => outboxId))}::uuid[],
      ${names(messages.map(({ type }) => type))}::text[],
      ${bytes(messages.map(({ body }) => body))}::bytea[],
      ${booleans(messages.map(({ mandatory }) => mandatory))}::boolean[],
      ${texts(messages.map(({ correlationId }) => correlationId))}::text[],
      ${texts(messages.map(({ traceparent }) => traceparent))}::text[],
      ${texts(messages.map(({ nudge }) => nudge?.queue))}::text[],
      ${times(messages.map(({ nudge }) => nudge?.dueTime.getTime()))}::timestamptz[]
    ) as message (
      tenant_id, outbox_id, type, body, mandatory, correlation_id, traceparent, nudge_queue, due_time
    )`;
}

type OutboxRow = {
  tenant_id: string;
  outbox_id: string;
  type: string;
  body: Buffer;
  mandatory: boolean;
  correlation_id: string | null;
  traceparent: string | null;
  nudge_queue: string | null;
  due_time: Date | null;
  due_in_ms: number | null;
};

// A relay's statements are planned each time (`unsafe` with parameters does that), and so that no plan reads
// the whole table: one that was made while the table was empty, as it mostly is, would do so for each message
// of a backlog.
//
// Nor do a relay's commits wait for the disk: a claim or a delete that a crash of the database undoes means a
// message sent twice, which every consumer may see anyway.
const withoutWaitingForTheDisk = `
  commit_mode as materialized (
    select set_config('synchronous_commit', 'off', true)
  )`;

const claimStatement = `
  with ${withoutWaitingForTheDisk},
  due as materialized (
    select ctid as place
    from outbox
    where next_attempt_time <= now()
    order by next_attempt_time
    limit $1::int
    for no key update skip locked
  )
  update outbox
  set next_attempt_time = clock_timestamp() + $2::int * interval '1 millisecond'
  from commit_mode
  where ctid = any (array(select place from due))
  returning
    tenant_id, outbox_id, type, body, mandatory, correlation_id, traceparent, nudge_queue, due_time,
    (extract(epoch from due_time - clock_timestamp()) * 1000)::double precision as due_in_ms`;

const deleteStatement = `
  with ${withoutWaitingForTheDisk}
  delete from outbox
  using commit_mode
  where tenant_id = any ($1::text[])
    and outbox_id = any ($2::uuid[])`;

const postponeStatement = `
  with ${withoutWaitingForTheDisk}
  update outbox
  set
    attempts = attempts + 1,
    next_attempt_time = clock_timestamp() + least(2 ^ least(attempts, 10), 30) * interval '1 second'
  from commit_mode
  where tenant_id = any ($1::text[])
    and outbox_id = any ($2::uuid[])`;

/**
 * Takes up to `limit` rows whose time has come, oldest first, for `leaseMs`. Relays side by side take
 * different rows, and no transaction stays open: a relay that dies loses its rows when the lease is over.
 */
export async function claimOutbox(sql: Sql, limit: number, leaseMs: number): Promise<ClaimedMessage[]> {
  const rows = await sql.unsafe<OutboxRow[]>(claimStatement, [limit, leaseMs]);
  // An update gives rows back in any order; a UUIDv7 sorts by its time.
  return rows.map(fromRow).sort((one, other) => (one.outboxId < other.outboxId ? -1 : 1));
}

/** Forgets messages that the broker has. */
export async function deleteOutbox(sql: Sql, keys: readonly OutboxKey[]): Promise<void> {
  await sql.unsafe(deleteStatement, [tenantsOf(keys), idsOf(keys)]);
}

/**
 * Lets messages that the broker did not take rest: 1 s after the first failure, then twice as long, up to 30
 * s.
 */
export async function postponeOutbox(sql: Sql, keys: readonly OutboxKey[]): Promise<void> {
  await sql.unsafe(postponeStatement, [tenantsOf(keys), idsOf(keys)]);
}

/**
 * How many messages wait, and how long the oldest of them has; counted up to `limit`, so that a backlog costs
 * little.
 */
export async function measureOutbox(
  sql: Sql,
  limit: number,
): Promise<{ readonly depth: number; readonly oldestAgeSeconds: number }> {
  const [row] = await sql<{ depth: number; oldest_age_seconds: number }[]>`
    select
      count(*)::int as depth,
      coalesce(extract(epoch from clock_timestamp() - min(create_time)), 0)::double precision
        as oldest_age_seconds
    from (
      select create_time
      from outbox
      order by next_attempt_time
      limit ${limit}
    ) as waiting`;
  if (!row) throw new Error("an aggregate gave no row");
  return { depth: row.depth, oldestAgeSeconds: row.oldest_age_seconds };
}

/** How much room the outbox takes on disk, in bytes. */
export async function outboxBytes(sql: Sql): Promise<number> {
  const [row] = await sql<{ bytes: number }[]>`
    select pg_total_relation_size('outbox')::double precision as bytes`;
  if (!row) throw new Error("a function gave no row");
  return row.bytes;
}

function fromRow(row: OutboxRow): ClaimedMessage {
  return {
    outboxId: row.outbox_id,
    tenant: row.tenant_id,
    type: row.type,
    body: row.body,
    mandatory: row.mandatory,
    correlationId: row.correlation_id ?? undefined,
    traceparent: row.traceparent ?? undefined,
    nudge:
      row.nudge_queue !== null && row.due_time !== null
        ? { queue: row.nudge_queue, dueTime: row.due_time }
        : undefined,
    dueInMs: row.due_in_ms ?? 0,
  };
}

function tenantsOf(keys: readonly OutboxKey[]): string {
  return texts([...new Set(keys.map(({ tenant }) => tenant))]);
}

function idsOf(keys: readonly OutboxKey[]): string {
  return uuids(keys.map(({ outboxId }) => outboxId));
}
