/**
 * Ends what has run out of time. The row decides: whoever comes first, twice or late, it ends once and not
 * early.
 */
import type { Logger } from "pino";
import { createTurns } from "#libs/boot";
import { isOneCallsFault, type Sql } from "#libs/db";
import { nudgeCutShort } from "#libs/events";
import type { Changes } from "./changes.ts";
import type { ExpiryTrigger } from "./domain/calls.ts";
import { type DueReservation, listDue } from "./store/reservations.ts";

export type Expiry = {
  /**
   * Expires all that is due of a tenant now. Rejects when it is stopped before: the nudge has to come again,
   * to somebody else.
   */
  expireDue(tenant: string): Promise<void>;
  /** Expires what is overdue of any tenant, a bounded number; true if there may be more. */
  sweep(): Promise<boolean>;
  /** Ends what is under way with its round. */
  stop(): void;
};

export type ExpiryParts = { readonly sql: Sql; readonly changes: Changes; readonly log: Logger };

/** Reservations that are looked up at once: a few batches. */
const ROUND = 1_024;
/** What is overdue by no more than this is left to the nudge, which comes at the end of its second. */
const SWEEP_GRACE_MS = 2_000;

/** Makes the expiry of a process. */
export function createExpiry({ sql, changes, log }: ExpiryParts): Expiry {
  // Nudges that come together, after an absence of the broker, take turns: the first does the work of all.
  const inTurn = createTurns();
  let stopped = false;

  // One that can't be expired (somebody's hand was at its rows) does not keep the others from it. If none can
  // be, or the database was away for any of them, whoever asked has to come again.
  async function expireAll(due: readonly DueReservation[], trigger: ExpiryTrigger): Promise<void> {
    const failures: unknown[] = [];
    const expire = async ({ tenant, reservationId }: DueReservation) => {
      try {
        await changes.reservation(tenant, { kind: "expire", reservationId, trigger });
      } catch (error) {
        failures.push(error);
        if (isOneCallsFault(error)) {
          log.error({ tenant, reservationId, err: error }, "a reservation could not be expired");
        }
      }
    };
    await Promise.all(due.map(expire));
    const outages = failures.filter((error) => !isOneCallsFault(error));
    if (outages.length > 0) throw outages[0];
    if (failures.length > 0 && failures.length === due.length) throw failures[0];
  }

  async function expireNudged(tenant: string): Promise<void> {
    for (;;) {
      if (stopped) throw nudgeCutShort();
      const due = await listDue(sql, { tenant, graceMs: 0, limit: ROUND });
      await expireAll(due, "nudge");
      if (due.length < ROUND) return;
    }
  }

  return {
    expireDue: (tenant) => inTurn(() => expireNudged(tenant)),
    sweep: async () => {
      const due = await listDue(sql, { graceMs: SWEEP_GRACE_MS, limit: ROUND });
      await expireAll(due, "sweeper");
      return due.length === ROUND;
    },
    stop: () => {
      stopped = true;
    },
  };
}
