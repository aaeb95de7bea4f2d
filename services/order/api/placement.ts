/**
 * The way of an order from a request to PENDING or REJECTED: a statement, a call to Inventory, and one more
 * statement or, without stock, a transaction.
 */
import { type Batcher, createBatcher, type Outcome } from "#libs/batch";
import { inTransaction, isOneCallsFault, type Sql } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { RenewedMap, RenewedSet } from "#libs/renewed";
import type { Announcer } from "../announcer.ts";
import { limits } from "../domain/limits.ts";
import type { Draft } from "../domain/order.ts";
import { type Reserved, verdictOf, verdictOfFailure } from "../domain/reservation.ts";
import type { OrderToReserve } from "../inventory.ts";
import type { OrderMetrics } from "../metrics.ts";
import type { Opening } from "../store/placement.ts";
import type { RequestKey } from "../store/requests.ts";
import { type ConfirmingCall, confirmPlacements } from "./confirming.ts";
import { answerOf, type Finished, type FinishedBatch } from "./finished.ts";
import { type Opened, openPlacements, type Reserving } from "./opening.ts";
import { type RefusingCall, refusePlacements } from "./refusing.ts";

export type PlacementParts = {
  readonly sql: Sql;
  readonly reserving: Batcher<OrderToReserve, Reserved>;
  readonly announcer: Announcer;
  readonly metrics: OrderMetrics;
};

/** A call that wants an order placed. */
export type PlacementCall = {
  readonly tenant: string;
  readonly draft: Draft;
  readonly ttlMs: number;
  readonly request: RequestKey | undefined;
  readonly correlationId: string;
  /** When its caller stops waiting, in milliseconds of performance.now(). */
  readonly deadline: number;
  readonly isAbandoned: () => boolean;
};

export type Placement = {
  /** Places the order, goes on with it, or finds it placed; throws what the caller is to be told. */
  place(call: PlacementCall): Promise<Finished>;
  /** Resolves when all accepted calls are answered. */
  stop(): Promise<void>;
};

const OVERLOAD_RETRY_MS = 250;

/**
 * Makes the placement of a process. Each of its steps gathers what waits while the one before it is
 * under way.
 */
export function createPlacement({ sql, reserving, announcer, metrics }: PlacementParts): Placement {
  const common = { maxBatch: limits.batchCalls, maxWaiting: limits.waitingCalls };
  /** Orders that are open and not finished. */
  let unfinished = 0;
  const opening = createBatcher<Opening, Opened>({
    ...common,
    name: "order-opening",
    goingOn: () => unfinished,
    splitsOn: isOneCallsFault,
    observe: metrics.observeBatch("opening"),
    execute: async (calls, tenant) => {
      const outcomes = await openPlacements(sql, tenant, calls);
      const open = outcomes.flatMap(openOrderOf);
      unfinished += open.length;
      metrics.countOrders("RESERVING", open.filter(({ isNew }) => isNew).length);
      return outcomes;
    },
  });
  const ending = { ...common, answersATurn: limits.placedATurn, splitsOn: isOneCallsFault };
  const confirming = createBatcher<ConfirmingCall, Finished>({
    ...ending,
    name: "order-confirming",
    observe: metrics.observeBatch("confirming"),
    execute: async (calls, tenant) => tell(await confirmPlacements(sql, tenant, calls, announcer)),
  });
  const refusing = createBatcher<RefusingCall, Finished>({
    ...ending,
    name: "order-refusing",
    observe: metrics.observeBatch("refusing"),
    execute: async (calls, tenant) =>
      tell(await inTransaction(sql, (tx) => refusePlacements(tx, tenant, calls, announcer))),
  });

  function tell({ announcement, changes, outcomes }: FinishedBatch): readonly Outcome<Finished>[] {
    announcer.send(announcement);
    for (const { order } of changes) metrics.countOrders(order.state, 1);
    return outcomes;
  }

  // One round; undefined if a repetition of the call took the order back meanwhile.
  async function placeOnce(call: PlacementCall): Promise<Finished | undefined> {
    const { tenant, draft, request, isAbandoned } = call;
    const opened = await opening.submit({ draft, request }, { key: tenant, isAbandoned });
    if (opened.kind === "gone") return undefined;
    if (opened.kind === "reserving") return await finish(call, opened);
    const outcome = answerOf(opened.order, opened.now);
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  }

  // From here on the order is there and goes its way to the end, also if its caller has gone.
  async function finish(call: PlacementCall, { order, clock }: Reserving): Promise<Finished> {
    const { tenant, ttlMs, request, correlationId, deadline } = call;
    const { orderId, lines } = order;
    try {
      const verdict = await reserving
        .submit(
          { orderId, reservationId: orderId, lines, requestId: correlationId, deadline },
          { key: tenant },
        )
        .then((reserved) => verdictOf(orderId, reserved), verdictOfFailure);
      if (verdict.kind === "confirm") {
        return await confirming.submit({ order, clock, ttlMs, correlationId }, { key: tenant });
      }
      const requestId = request?.requestId;
      return await refusing.submit({ order, verdict, requestId, correlationId }, { key: tenant });
    } finally {
      unfinished -= 1;
      opening.reconsider();
    }
  }

  async function placeInRounds(call: PlacementCall): Promise<Finished> {
    for (let round = 1; round <= limits.placingRounds; round += 1) {
      const placed = await placeOnce(call);
      if (placed) return placed;
    }
    throw new DomainError("CONFLICT", "repetitions of this request collided: send it again in a moment", {
      retryAfterMs: OVERLOAD_RETRY_MS,
    });
  }

  const underWay = new RenewedSet<Promise<Finished>>();
  const turns = new RenewedMap<string, Promise<Finished>>();

  async function place(call: PlacementCall): Promise<Finished> {
    // Counted over all three steps, so that none of them ever refuses an order that the first has written.
    if (underWay.size >= limits.waitingCalls) throw overloaded();
    const key = call.request && `${call.tenant} ${call.request.requestId}`;
    const work = key === undefined ? placeInRounds(call) : inTurn(turns, key, () => placeInRounds(call));
    underWay.add(work);
    try {
      return await work;
    } finally {
      underWay.delete(work);
    }
  }

  return {
    place,
    stop: async () => {
      await Promise.allSettled(underWay);
      await Promise.all([opening.stop(), confirming.stop(), refusing.stop()]);
    },
  };
}

function openOrderOf(outcome: Outcome<Opened>) {
  return outcome.ok && outcome.value.kind === "reserving" ? [outcome.value] : [];
}

/** Runs the works of one key one after the other, so that repetitions in one process never race. */
async function inTurn<Result>(
  turns: RenewedMap<string, Promise<Result>>,
  key: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const before = turns.get(key);
  const turn = before ? before.then(work, work) : work();
  turns.set(key, turn);
  try {
    return await turn;
  } finally {
    if (turns.get(key) === turn) turns.delete(key);
  }
}

function overloaded(): DomainError {
  return new DomainError(
    "OVERLOADED",
    `${limits.waitingCalls} orders are being placed: come back in a moment`,
    {
      metadata: { queue: "orders" },
      retryAfterMs: OVERLOAD_RETRY_MS,
    },
  );
}
