/** What events start: of the others' none; of its own, the nudges that say a second has come. */
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { databaseNow, type Sql } from "#libs/db";
import { type Broker, consumeNudges, type EventMetrics } from "#libs/events";
import { OrdersFellDueSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { NUDGES_QUEUE } from "./convert.ts";
import type { Expiry } from "./expiry.ts";

export type EventsParts = {
  readonly sql: Sql;
  readonly broker: Broker;
  readonly expiry: Expiry;
  readonly log: Logger;
  readonly metrics?: EventMetrics;
  /** Another queue than this service's own: for tests that share a broker. */
  readonly queue?: string;
};

/** Consumes this service's nudges: each expires what is due of its tenant when it comes. */
export function consumeOrderNudges({ sql, broker, expiry, log, metrics, queue }: EventsParts): Loop {
  return consumeNudges({
    broker,
    queue: queue ?? NUDGES_QUEUE,
    schema: OrdersFellDueSchema,
    now: () => databaseNow(sql),
    handle: (tenant) => expiry.expireDue(tenant),
    log,
    metrics,
  });
}
