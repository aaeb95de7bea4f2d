import { setTimeout as pause } from "node:timers/promises";
import { inTransaction, type Sql, type Tx } from "#libs/db";
import type { OutboxMessage } from "#libs/events";
import { DomainError } from "#libs/reasons";
import { eventMessage, nudgeMessage } from "../convert/events.ts";
import { applyCall } from "../domain/apply.ts";
import type { Book } from "../domain/book.ts";
import type { AdjustCall, StockCall, StockEvent, StockOutcome } from "../domain/calls.ts";
import { loadBook } from "./load.ts";
import { claimNudges, type KnownNudges } from "./nudges.ts";
import { saveBook } from "./save.ts";
import { StaleRead } from "./stale.ts";

/** What changes of stock need beside their calls. */
export type ChangeContext = {
  readonly sql: Sql;
  /** Absent where no nudges are written. */
  readonly knownNudges?: KnownNudges | undefined;
  /** Given the messages of each batch once it has committed. */
  readonly publish: (messages: readonly OutboxMessage[]) => void;
  /** Told of the events of each batch once it has committed. */
  readonly observe?: (events: readonly StockEvent[]) => void;
};

type Done = {
  readonly outcomes: StockOutcome[];
  readonly messages: OutboxMessage[];
  readonly events: readonly StockEvent[];
  readonly dueSeconds: number[];
};

const ATTEMPTS = 6;
const PAUSE_MS = 4;
const RETRY_AFTER_MS = 250;
const SECOND_MS = 1_000;

/**
 * Carries out the calls of one tenant in one transaction, in their order, each with its own outcome. The
 * levels are locked first and in order, so batches of several instances wait for each other and never
 * collide; what another instance did in spite of that (the same id twice) makes the batch start again.
 */
export async function changeStock(
  context: ChangeContext,
  tenant: string,
  calls: readonly StockCall[],
): Promise<StockOutcome[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const done = await inTransaction(context.sql, (tx) => carryOut(tx, context, tenant, calls));
      context.knownNudges?.add(tenant, done.dueSeconds);
      if (done.messages.length > 0) context.publish(done.messages);
      if (done.events.length > 0) context.observe?.(done.events);
      return done.outcomes;
    } catch (error) {
      if (!(error instanceof StaleRead)) throw error;
      if (attempt === ATTEMPTS) throw collided(error);
      await pause(PAUSE_MS * attempt * (0.5 + Math.random() / 2));
    }
  }
}

async function carryOut(
  tx: Tx,
  context: ChangeContext,
  tenant: string,
  calls: readonly StockCall[],
): Promise<Done> {
  const book = await loadBook(tx, tenant, calls);
  const outcomes = calls.map((call) => applyCall(book, call));
  const { knownNudges } = context;
  const dueSeconds = knownNudges
    ? dueSecondsOf(book).filter((second) => !knownNudges.has(tenant, second))
    : [];
  const claimed = await claimNudges(tx, tenant, dueSeconds);
  const messages = [
    ...book.events.map((event) => eventMessage(tenant, event)),
    ...claimed.map((second) => nudgeMessage(tenant, second)),
  ];
  await saveBook(tx, tenant, book, { messages, adjustments: adjustmentsOf(book, calls, outcomes) });
  return { outcomes, messages, events: book.events, dueSeconds };
}

// The second at whose end each new expire_time has come.
function dueSecondsOf(book: Book): number[] {
  const seconds = new Set<number>();
  for (const { before, after } of book.reservations.values()) {
    if (after.state !== "ACTIVE" || after.expireTime === undefined) continue;
    if (before?.expireTime !== after.expireTime)
      seconds.add(Math.ceil(after.expireTime / SECOND_MS) * SECOND_MS);
  }
  return [...seconds];
}

function adjustmentsOf(
  book: Book,
  calls: readonly StockCall[],
  outcomes: readonly StockOutcome[],
): AdjustCall[] {
  if (book.movements.length === 0) return [];
  // A repeated one is answered with the movements of the first, whose adjustment has another id.
  return calls.filter((call, index): call is AdjustCall => {
    const outcome = outcomes[index];
    if (call.kind !== "adjust" || !outcome?.ok || outcome.value.kind !== "adjustment") return false;
    return outcome.value.movements[0]?.cause === call.adjustmentId;
  });
}

function collided(cause: StaleRead): DomainError {
  return new DomainError(
    "CONFLICT",
    "others work on the same reservations: send the same request again in a moment",
    { retryAfterMs: RETRY_AFTER_MS },
    { cause },
  );
}
