import type { Tx } from "#libs/db";
import { insertOutbox, type OutboxMessage } from "#libs/events";
import { nudgeOf, toOutboxMessage } from "./convert.ts";
import { limits } from "./domain/limits.ts";
import type { OrderEvent } from "./domain/order.ts";
import { insertNudges } from "./store/nudges.ts";

/** Something to tell, and the request that it came of. */
export type News = { readonly event: OrderEvent; readonly correlationId?: string | undefined };

/** What a transaction has written for the broker. */
export type Announcement = {
  readonly tenant: string;
  readonly messages: readonly OutboxMessage[];
  readonly dueTimes: readonly number[];
};

/** Tells the others what happened: written in the transaction, sent after its commit. */
export type Announcer = {
  /** Writes events, and the nudges of the seconds at which their orders fall due, in the transaction. */
  write(tx: Tx, tenant: string, news: readonly News[]): Promise<Announcement>;
  /** Sends at once what a transaction has written; call it when the commit is certain. */
  send(announcement: Announcement): void;
};

const SECOND_MS = 1_000;

/** Makes the announcer of a process; `publish` may lose what it is given, as the outbox has it too. */
export function createAnnouncer(publish: (messages: readonly OutboxMessage[]) => void): Announcer {
  // Seconds whose nudge is committed, oldest first. What is forgotten is only asked of the database once
  // more.
  const known = new Set<string>();

  return {
    write: async (tx, tenant, news) => {
      const messages = news.map(({ event, correlationId }) => toOutboxMessage(event, tenant, correlationId));
      const dueTimes = [...new Set(news.map(({ event }) => dueTimeOf(event)))]
        .filter((dueTime) => dueTime !== undefined)
        .filter((dueTime) => !known.has(keyOf(tenant, dueTime)));
      const unnudged = await insertNudges(tx, tenant, dueTimes);
      messages.push(...unnudged.map((dueTime) => nudgeOf(tenant, dueTime)));
      await insertOutbox(tx, messages);
      return { tenant, messages, dueTimes };
    },
    send: ({ tenant, messages, dueTimes }) => {
      for (const dueTime of dueTimes) known.add(keyOf(tenant, dueTime));
      for (const key of known) {
        if (known.size <= limits.knownNudges) break;
        known.delete(key);
      }
      if (messages.length > 0) publish(messages);
    },
  };
}

// The whole second by which the order is due: its nudge comes then, never early.
function dueTimeOf(event: OrderEvent): number | undefined {
  const expireTime =
    event.type === "OrderPlaced"
      ? event.order.expireTime
      : event.type === "OrderExtended"
        ? event.expireTime
        : undefined;
  return expireTime === undefined ? undefined : Math.ceil(expireTime / SECOND_MS) * SECOND_MS;
}

function keyOf(tenant: string, dueTime: number): string {
  return `${dueTime} ${tenant}`;
}
