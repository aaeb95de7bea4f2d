/** Asks after the outcomes of orders that this service may have missed. */
import { setTimeout as pause } from "node:timers/promises";
import { createTurns } from "#libs/boot";
import { databaseNow, inTransaction, type Sql } from "#libs/db";
import { insertOutbox, type OutboxMessage } from "#libs/events";
import { outcomesMissedMessage } from "./convert/events.ts";
import { tenantsWithStock } from "./store/locations.ts";
import { listOwnedByOrders, type OwnedByOrder } from "./store/reservations.ts";

export type OutcomesParts = {
  readonly sql: Sql;
  /** Given each message once its transaction has committed. */
  readonly publish: (messages: readonly OutboxMessage[]) => void;
};

export type Outcomes = {
  /** Asks after every live reservation of an order: any outcome may be lost. */
  askAll(): Promise<void>;
  /** Asks after those that have been there for longer than orders live as a rule. */
  askLate(): Promise<void>;
  /** Ends what is under way with its message, and what comes then before its first. */
  stop(): void;
};

/** Most orders live for a day at most; whose order lives longer costs a line in a message a day. */
const LATE_MS = 25 * 3_600_000;
/** Reservations of one message: some 40 kB of it. */
const ASKED_AT_ONCE = 500;
/** Behind each message: 5,000 reservations a second at most, which Order answers beside its calls. */
const REST_MS = 100;

/**
 * Makes the asking of a process. An event is delivered at least once, but a broker that loses its data loses
 * what it had taken and not delivered, and Order forgets what the broker has taken. Only the reservation is
 * still there then, so it is what asks; Order tells again what has ended, and nothing of what lives.
 */
export function createOutcomes({ sql, publish }: OutcomesParts): Outcomes {
  let stopped = false;
  // Those that ask at the same time take turns.
  const inTurn = createTurns();

  async function walk(late: boolean): Promise<void> {
    // What comes later has missed nothing.
    const until = (await databaseNow(sql)).getTime() - (late ? LATE_MS : 0);
    for (const tenant of await tenantsWithStock(sql)) {
      let page: readonly OwnedByOrder[] = [];
      do {
        if (stopped) return;
        page = await listOwnedByOrders(sql, tenant, { until, after: page.at(-1), limit: ASKED_AT_ONCE });
        if (page.length > 0) await ask(tenant, page, late);
      } while (page.length === ASKED_AT_ONCE);
    }
  }

  async function ask(tenant: string, page: readonly OwnedByOrder[], late: boolean): Promise<void> {
    const message = outcomesMissedMessage(tenant, page, late);
    await inTransaction(sql, (tx) => insertOutbox(tx, [message]));
    publish([message]);
    await pause(REST_MS);
  }

  return {
    askAll: () => inTurn(() => walk(false)),
    askLate: () => inTurn(() => walk(true)),
    stop: () => {
      stopped = true;
    },
  };
}
