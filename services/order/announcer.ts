import type { Tx } from "#libs/db";
import { insertOutbox, type OutboxMessage } from "#libs/events";
import { nudgeOf, toOutboxMessage } from "./convert.ts";
import { limits } from "./domain/limits.ts";
import type { OrderEvent } from "./domain/order.ts";
import { dueTimeOf, insertNudges } from "./store/nudges.ts";

/** Something to tell, and the request that it came of. */
export type News = { readonly event: OrderEvent; readonly correlationId?: string | undefined };

/** What there is to tell, as messages for the broker. */
export type Announcement = {
  readonly tenant: string;
  /** One for each of the news, in their order. */
  readonly events: readonly OutboxMessage[];
  /** One for each second at which orders fall due, unless its nudge is known to be written. */
  readonly nudges: readonly OutboxMessage[];
};

/** Tells the others what happened: written in the transaction, sent after its commit. */
export type Announcer = {
  /**
   * Puts news into messages, for a statement that writes them itself: the events, and each nudge whose second
   * it is the first to note.
   */
  compose(tenant: string, news: readonly News[]): Announcement;
  /** Writes events, and the nudges of the seconds at which their orders fall due, in the transaction. */
  write(tx: Tx, tenant: string, news: readonly News[]): Promise<Announcement>;
  /** Sends at once what a transaction has written; call it when the commit is certain. */
  send(announcement: Announcement): void;
};

const SECOND_MS = 1_000;

/**
 * Makes the announcer of a process; `publish` may lose what it is given, as the outbox has it too. It writes
 * no nudges where nobody may consume them: they would end among the dead letters.
 */
export function createAnnouncer(
  publish: (messages: readonly OutboxMessage[]) => void,
  { nudges: writesNudges }: { readonly nudges: boolean } = { nudges: true },
): Announcer {
  // Seconds whose nudge is committed, oldest first. What is forgotten is only asked of the database once
  // more.
  const known = new Set<string>();

  function compose(tenant: string, news: readonly News[]): Announcement {
    const seconds = [...new Set(writesNudges ? news.map(({ event }) => dueSecondOf(event)) : [])]
      .filter((second) => second !== undefined)
      .filter((second) => !known.has(keyOf(tenant, second)));
    return {
      tenant,
      events: news.map(({ event, correlationId }) => toOutboxMessage(event, tenant, correlationId)),
      nudges: seconds.map((second) => nudgeOf(tenant, second)),
    };
  }

  return {
    compose,
    write: async (tx, tenant, news) => {
      const announcement = compose(tenant, news);
      const { events, nudges } = announcement;
      const noted = await insertNudges(tx, tenant, nudges);
      const unwritten = nudges.filter((nudge) => noted.has(dueTimeOf(nudge) ?? 0));
      await insertOutbox(tx, [...events, ...unwritten]);
      // With the nudges that others have written: they are known from now on, and to send one is only to
      // look.
      return announcement;
    },
    send: ({ tenant, events, nudges }) => {
      for (const nudge of nudges) known.add(keyOf(tenant, dueTimeOf(nudge) ?? 0));
      for (const key of known) {
        if (known.size <= limits.knownNudges) break;
        known.delete(key);
      }
      if (events.length + nudges.length > 0) publish([...events, ...nudges]);
    },
  };
}

// The whole second by which the order is due: its nudge comes then, never early.
function dueSecondOf(event: OrderEvent): number | undefined {
  const expireTime =
    event.type === "OrderPlaced"
      ? event.order.expireTime
      : event.type === "OrderExtended"
        ? event.expireTime
        : undefined;
  return expireTime === undefined ? undefined : Math.ceil(expireTime / SECOND_MS) * SECOND_MS;
}

function keyOf(tenant: string, second: number): string {
  return `${second} ${tenant}`;
}
