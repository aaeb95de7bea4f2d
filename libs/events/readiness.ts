import type { Sql } from "#libs/db";
import type { Broker } from "./broker.ts";
import { measureOutbox, outboxBytes } from "./outbox.ts";

export type OutboxReadinessOptions = {
  readonly sql: Sql;
  readonly broker: Broker;
  /** The longest that a message may wait while the broker is away; 1 h if absent. */
  readonly maxAgeSeconds?: number;
  /** The room that the outbox may take on disk while the broker is away; 4 GiB if absent. */
  readonly maxBytes?: number;
  /** How long the broker may be away before either counts; 1 min if absent. */
  readonly graceSeconds?: number;
};

/**
 * Without the broker all but punctuality goes on. But the stock of ended orders is not given back, and past
 * an hour of that taking more orders helps nobody.
 */
const MAX_AGE_SECONDS = 3_600;
/** Some 10 million messages: an hour of a busy shop, and little beside a database's disk. */
const MAX_BYTES = 4 * 1_024 ** 3;
/**
 * A restart of the broker is no outage. What lies there then is of an earlier day: a table that was once long
 * keeps its room, and a message that nobody can take waits.
 */
const GRACE_SECONDS = 60;
/** The oldest are looked at, since a message that waits long is among them. */
const LOOKED_AT = 100;

/**
 * Makes the check of what waits for the broker: `ok` while the broker is there or has just gone, or while the
 * outbox is within its limits; else what is wrong. Never rejects.
 */
export function createOutboxReadiness(options: OutboxReadinessOptions): () => Promise<string> {
  const { sql, broker, maxAgeSeconds = MAX_AGE_SECONDS, maxBytes = MAX_BYTES } = options;
  const graceMs = (options.graceSeconds ?? GRACE_SECONDS) * 1_000;
  let awaySince: number | undefined;
  return async () => {
    if (broker.state() === "connected") {
      awaySince = undefined;
      return "ok";
    }
    awaySince ??= performance.now();
    if (performance.now() - awaySince < graceMs) return "ok";
    try {
      const [{ oldestAgeSeconds }, bytes] = await Promise.all([
        measureOutbox(sql, LOOKED_AT),
        outboxBytes(sql),
      ]);
      if (oldestAgeSeconds > maxAgeSeconds) {
        return `the broker is away and a message has waited for ${Math.round(oldestAgeSeconds)} s`;
      }
      if (bytes > maxBytes) return `the broker is away and the outbox takes ${bytes} bytes`;
      return "ok";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
}
