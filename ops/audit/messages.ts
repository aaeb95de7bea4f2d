/** What an audit sees of the messages on their way: the outboxes and the broker's queues. */
import { fromBinary } from "@bufbuild/protobuf";
import { connect } from "amqplib";
import type { Sql } from "#libs/db";
import {
  OrderAbandonedSchema,
  OrderCancelledSchema,
  OrderExpiredSchema,
  OrderSettledSchema,
} from "#proto/holdfast/order/v1/events_pb.ts";
import { QUEUES } from "../queues.ts";

export type Outbox = {
  readonly messages: number;
  readonly oldestMs: number;
  /** The oldest few, for a person. */
  readonly examples: readonly string[];
};

/** What the broker has; a queue that was never made has nothing. */
export type Queues = {
  /** Messages that are ready, by queue. */
  readonly ready: ReadonlyMap<string, number>;
  /** Dead letters, by the queue that they were meant for. */
  readonly dead: ReadonlyMap<string, number>;
};

const EXAMPLES = 3;
const PAGE_MESSAGES = 5_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";
const CONNECT_TIMEOUT_MS = 5_000;
const NOT_FOUND = 404;

/** Counts what waits in an outbox, and since when. */
export async function measureOutbox(sql: Sql): Promise<Outbox> {
  const [total] = await sql<{ messages: number; oldest_ms: number }[]>`
    select
      count(*)::integer as messages,
      coalesce(extract(epoch from clock_timestamp() - min(create_time)) * 1000, 0)::double precision
        as oldest_ms
    from outbox`;
  if (!total) throw new Error("an aggregate gave no row");
  const oldest = await sql<{ outbox_id: string; type: string; attempts: number }[]>`
    select outbox_id, type, attempts
    from outbox
    order by create_time
    limit ${EXAMPLES}`;
  return {
    messages: total.messages,
    oldestMs: total.oldest_ms,
    examples: oldest.map(
      ({ outbox_id, type, attempts }) => `${type} ${outbox_id} (${attempts} failed attempts)`,
    ),
  };
}

const outcomes = [OrderSettledSchema, OrderCancelledSchema, OrderExpiredSchema, OrderAbandonedSchema];

/** Those of the orders whose outcome waits in Order's outbox, by `tenant/id`, with how long it has waited. */
export async function findOutcomes(sql: Sql, orders: ReadonlySet<string>): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  let after = { tenant_id: "", outbox_id: FIRST_ID };
  for (;;) {
    const rows = await sql<
      { tenant_id: string; outbox_id: string; type: string; body: Uint8Array; age_ms: number }[]
    >`
      select
        tenant_id, outbox_id, type, body,
        (extract(epoch from clock_timestamp() - create_time) * 1000)::double precision as age_ms
      from outbox
      where (tenant_id, outbox_id) > (${after.tenant_id}, ${after.outbox_id})
      order by tenant_id, outbox_id
      limit ${PAGE_MESSAGES}`;
    for (const { tenant_id, type, body, age_ms } of rows) {
      const schema = outcomes.find(({ typeName }) => typeName === type);
      if (!schema) continue;
      const key = `${tenant_id}/${fromBinary(schema, body).orderId}`;
      if (orders.has(key)) found.set(key, age_ms);
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_MESSAGES) return found;
    after = last;
  }
}

/** Counts what the broker has, and changes nothing there. */
export async function readQueues(amqpUrl: string, names: readonly string[]): Promise<Queues> {
  const connection = await connect(amqpUrl, { timeout: CONNECT_TIMEOUT_MS });
  // What breaks the connection makes the question under way fail; without a listener it would end the
  // process.
  connection.on("error", () => {});

  // A question about a queue that is not there ends its channel, so each has its own.
  async function count(queue: string): Promise<number> {
    const channel = await connection.createChannel();
    channel.on("error", () => {});
    try {
      const { messageCount } = await channel.checkQueue(queue);
      await channel.close();
      return messageCount;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === NOT_FOUND) return 0;
      throw error;
    }
  }

  try {
    const ready = new Map<string, number>();
    for (const name of names) ready.set(name, await count(name));
    const dead = new Map<string, number>();
    for (const name of QUEUES) dead.set(name, await count(`${name}.dead`));
    return { ready, dead };
  } finally {
    await connection.close().catch(() => {});
  }
}
