/** Asks after the outcomes of orders that this service may have missed. */
import { setTimeout as pause } from "node:timers/promises";
import { inTransaction, type Sql } from "#libs/db";
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
  /**
   * Asks after every live reservation of an order that is older than `ageMs`. Those that ask at the same time
   * take turns.
   */
  askAfter(ageMs: number): Promise<void>;
  /** Ends what is under way with its message. */
  stop(): void;
};

/** Reservations of one message: some 40 kB of it. */
const ASKED_AT_ONCE = 500;
/** Between two messages: 5,000 reservations a second at most, which Order answers beside its calls. */
const REST_MS = 100;

/**
 * Makes the asking of a process. An event is delivered at least once, but a broker that loses its data loses
 * what it had taken and not delivered, and Order forgets what the broker has taken. Only the reservation is
 * still there then, so it is what asks; Order tells again what has ended, and nothing of what lives.
 */
export function createOutcomes({ sql, publish }: OutcomesParts): Outcomes {
  let stopped = false;
  let last: Promise<void> = Promise.resolve();

  async function askAll(ageMs: number): Promise<void> {
    for (const tenant of await tenantsWithStock(sql)) {
      let after: OwnedByOrder | undefined;
      do {
        const page = await listOwnedByOrders(sql, tenant, { ageMs, after, limit: ASKED_AT_ONCE });
        if (page.length > 0) await ask(tenant, page);
        after = page.length < ASKED_AT_ONCE ? undefined : page.at(-1);
        if (after) await pause(REST_MS);
      } while (after && !stopped);
    }
  }

  async function ask(tenant: string, page: readonly OwnedByOrder[]): Promise<void> {
    const message = outcomesMissedMessage(tenant, page);
    await inTransaction(sql, (tx) => insertOutbox(tx, [message]));
    publish([message]);
  }

  return {
    askAfter: (ageMs) => {
      const turn = () => askAll(ageMs);
      last = last.then(turn, turn);
      return last;
    },
    stop: () => {
      stopped = true;
    },
  };
}
