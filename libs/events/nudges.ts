import type { DescMessage } from "@bufbuild/protobuf";
import type { ConsumeMessage } from "amqplib";
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import { DomainError } from "#libs/reasons";
import type { Broker } from "./broker.ts";
import { DRAIN_TIMEOUT_MS, PREFETCH, requireTenant } from "./consumer.ts";
import { consumeDeliveries, type Verdict } from "./deliveries.ts";
import { ImpossibleMessage } from "./impossible.ts";
import { rungFor } from "./ladder.ts";
import { header, headerOf, type MessageMeta } from "./message.ts";
import type { EventMetrics } from "./metrics.ts";
import { wayOf } from "./topology.ts";

export type NudgeConsumerOptions = {
  readonly broker: Broker;
  /** The `destination` of the nudges. */
  readonly queue: string;
  /** Messages of another type are put aside. */
  readonly schema: DescMessage;
  /** The database's clock: the only one that decides whether a nudge is due. */
  readonly now: () => Promise<Date>;
  /** Called once the time has come, once or more often for one nudge. */
  readonly handle: (tenant: string, dueTime: Date) => Promise<void>;
  readonly log: Logger;
  readonly metrics?: EventMetrics | undefined;
  readonly prefetch?: number;
  readonly drainTimeoutMs?: number;
};

/** Walks nudges down the delay ladder and hands over each when it is due. */
export function consumeNudges(options: NudgeConsumerOptions): Loop {
  const { queue, metrics } = options;

  async function process(message: ConsumeMessage, meta: MessageMeta): Promise<Verdict> {
    if (meta.type !== options.schema.typeName) {
      throw new ImpossibleMessage("UNKNOWN_TYPE", `"${meta.type}" is no nudge of this queue`);
    }
    requireTenant(meta);
    const dueTime = dueTimeOf(message);
    for (;;) {
      const remainingMs = dueTime.getTime() - (await options.now()).getTime();
      if (remainingMs <= 0) break;
      if (rungFor(remainingMs)) {
        metrics?.nudges.inc({ queue, outcome: "moved" });
        return wayOf(queue, remainingMs);
      }
      // The last second or so is waited for here, unacknowledged. A timer may be early, so the clock is asked
      // again.
      await new Promise((resolve) => setTimeout(resolve, remainingMs));
    }
    await options.handle(meta.tenant, dueTime);
    metrics?.nudges.inc({ queue, outcome: "handled" });
    return "done";
  }

  return consumeDeliveries({
    broker: options.broker,
    queue,
    routingKeys: [],
    prefetch: options.prefetch ?? PREFETCH,
    drainTimeoutMs: options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS,
    process,
    log: options.log,
    metrics,
  });
}

function dueTimeOf(message: ConsumeMessage): Date {
  const value = headerOf(message, header.dueTime);
  if (typeof value !== "number")
    throw new ImpossibleMessage("DUE_TIME_MISSING", "the nudge has no due-time header");
  return new Date(value);
}

/**
 * What the handling of a nudge rejects with when its process stops: the nudge comes again, to somebody else.
 */
export function nudgeCutShort(): DomainError {
  return new DomainError("DEPENDENCY_UNAVAILABLE", "this instance is stopping: the nudge has to come again");
}
