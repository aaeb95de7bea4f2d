/**
 * The way of every change of stock, whoever starts it: gathered with what comes at the same time, then
 * carried out.
 */
import { createBatcher } from "#libs/batch";
import { isOneCallsFault, type Sql } from "#libs/db";
import type { OutboxMessage } from "#libs/events";
import type { StockCall, StockResult } from "./domain/calls.ts";
import { ANSWERS_A_TURN, MAX_BATCH_CALLS, MAX_WAITING_CALLS } from "./domain/limits.ts";
import type { Reservation } from "./domain/reservation.ts";
import type { Movement } from "./domain/stock.ts";
import type { StockMetrics } from "./metrics.ts";
import { changeStock } from "./store/change.ts";
import { createKnownNudges } from "./store/nudges.ts";

export type ChangesParts = {
  readonly sql: Sql;
  /** Given the messages of each batch once it has committed. */
  readonly publish: (messages: readonly OutboxMessage[]) => void;
  readonly metrics: StockMetrics;
  /** Whether nudges are written, true if absent: where nobody takes them they would end as dead letters. */
  readonly nudges?: boolean;
};

/** The changes of stock of one process. */
export type Changes = {
  /** Carries out a call on a reservation and returns it as it is then, or throws why not. */
  reservation(
    tenant: string,
    call: Exclude<StockCall, { kind: "adjust" }>,
    isAbandoned?: () => boolean,
  ): Promise<Reservation>;
  /** Carries out an adjustment and returns its movements, or throws why not. */
  adjustment(
    tenant: string,
    call: Extract<StockCall, { kind: "adjust" }>,
    isAbandoned?: () => boolean,
  ): Promise<readonly Movement[]>;
  /** Refuses new calls and resolves when all accepted ones are answered. */
  stop(): Promise<void>;
};

/**
 * Makes the changes of a process. One batch at a time: two would only wait for each other at the rows of a
 * hot item.
 */
export function createChanges({ sql, publish, metrics, nudges = true }: ChangesParts): Changes {
  const knownNudges = nudges ? createKnownNudges() : undefined;
  const context = { sql, publish, knownNudges, observe: metrics.countEvents };
  const batcher = createBatcher<StockCall, StockResult>({
    name: "stock",
    maxBatch: MAX_BATCH_CALLS,
    answersATurn: ANSWERS_A_TURN,
    maxWaiting: MAX_WAITING_CALLS,
    splitsOn: isOneCallsFault,
    observe: metrics.observeBatch,
    execute: async (calls, tenant) => {
      const outcomes = await changeStock(context, tenant, calls);
      metrics.countOutcomes(outcomes);
      return outcomes;
    },
  });
  metrics.watchWaiting(() => batcher.waiting());

  async function submit(tenant: string, call: StockCall, isAbandoned?: () => boolean): Promise<StockResult> {
    return await batcher.submit(call, { key: tenant, ...(isAbandoned && { isAbandoned }) });
  }

  return {
    reservation: async (tenant, call, isAbandoned) => {
      const result = await submit(tenant, call, isAbandoned);
      if (result.kind !== "reservation") throw new Error(`a ${call.kind} was answered with an adjustment`);
      return result.reservation;
    },
    adjustment: async (tenant, call, isAbandoned) => {
      const result = await submit(tenant, call, isAbandoned);
      if (result.kind !== "adjustment") throw new Error("an adjustment was answered with a reservation");
      return result.movements;
    },
    stop: () => batcher.stop(),
  };
}
