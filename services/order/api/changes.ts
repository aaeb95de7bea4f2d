/**
 * Settle, cancel, extend, and what befalls late payments: one transaction for all that wait, each call judged
 * in its turn.
 */
import { createBatcher, type Outcome } from "#libs/batch";
import { inTransaction, isOneCallsFault, type Sql, type Tx } from "#libs/db";
import { DomainError } from "#libs/reasons";
import type { Announcement, Announcer } from "../announcer.ts";
import { limits } from "../domain/limits.ts";
import { type Change, expire, isDue, type Order } from "../domain/order.ts";
import type { OrderMetrics } from "../metrics.ts";
import { saveLateOrders } from "../store/late.ts";
import { insertHistory, lockOrders, saveOrders } from "../store/orders.ts";
import { findRequests, insertRequests, type RequestKey } from "../store/requests.ts";
import { type Intent, stepOf, stepOfRepeated } from "./intents.ts";
import { isSameRequest, requestIdReused } from "./opening.ts";

export type ChangeCall = {
  readonly orderId: string;
  readonly intent: Intent;
  readonly request: RequestKey | undefined;
  readonly correlationId: string;
};

/** An order as it is now. */
export type Seen = { readonly order: Order; readonly now: number };

export type ChangesParts = {
  readonly sql: Sql;
  readonly announcer: Announcer;
  readonly metrics: OrderMetrics;
};

export type Changes = {
  /** Carries out the call, or finds that it was; throws what the caller is to be told. */
  change(tenant: string, call: ChangeCall, isAbandoned: () => boolean): Promise<Seen>;
  /** Resolves when all accepted calls are answered. */
  stop(): Promise<void>;
};

/**
 * How often a batch is judged anew when a request_id of its is taken under its feet; each time one more is
 * known.
 */
const ATTEMPTS = 3;

/** Makes the changes of a process. */
export function createChanges({ sql, announcer, metrics }: ChangesParts): Changes {
  const batcher = createBatcher<ChangeCall, Seen>({
    name: "order-changes",
    maxBatch: limits.batchCalls,
    answersATurn: limits.answersATurn,
    maxWaiting: limits.waitingCalls,
    splitsOn: isOneCallsFault,
    observe: metrics.observeBatch("changes"),
    execute: async (calls, tenant) => {
      const batch = await changeOnceMore(tenant, calls);
      announcer.send(batch.announcement);
      count(batch.changes);
      return batch.outcomes;
    },
  });

  async function changeOnceMore(tenant: string, calls: readonly ChangeCall[]): Promise<ChangedBatch> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await inTransaction(sql, (tx) => changeOrders(tx, tenant, calls, announcer));
      } catch (error) {
        if (attempt === ATTEMPTS || !(error instanceof RequestIdTaken)) throw error;
      }
    }
  }

  function count(changes: readonly Change[]): void {
    for (const { order, transition, events } of changes) {
      metrics.countLatePayments(events);
      // An extension leaves an order where it was.
      if (transition.fromState === order.state) continue;
      metrics.countOrders(order.state, 1);
      if (order.state === "EXPIRED") {
        metrics.countExpiries("touch", [transition.time - (order.expireTime ?? transition.time)]);
      }
    }
  }

  return {
    change: (tenant, call, isAbandoned) => batcher.submit(call, { key: tenant, isAbandoned }),
    stop: () => batcher.stop(),
  };
}

type ChangedBatch = {
  readonly outcomes: readonly Outcome<Seen>[];
  readonly changes: readonly Change[];
  readonly announcement: Announcement;
};

/** Another call has used the request_id between our look and our insert: everything is judged anew. */
class RequestIdTaken extends Error {
  override readonly name = "RequestIdTaken";
}

async function changeOrders(
  tx: Tx,
  tenant: string,
  calls: readonly ChangeCall[],
  announcer: Announcer,
): Promise<ChangedBatch> {
  const requestIds = calls.flatMap(({ request }) => (request ? [request.requestId] : []));
  // The rows first: a repetition that waited for its first sending sees that one's request when it looks
  // then.
  const [locked, used] = await Promise.all([
    lockOrders(tx, tenant, [...new Set(calls.map(({ orderId }) => orderId))]),
    findRequests(tx, tenant, requestIds),
  ]);
  const book = new Book(locked.now, locked.orders, used);
  const outcomes = calls.map((call): Outcome<Seen> => {
    try {
      return { ok: true, value: { order: book.apply(call), now: locked.now } };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return { ok: false, error };
    }
  });
  const [announcement, taken] = await Promise.all([
    announcer.write(tx, tenant, book.news),
    insertRequests(tx, tenant, book.newRequests),
    saveOrders(tx, tenant, book.saved("in time")),
    saveLateOrders(tx, tenant, book.saved("late")),
    insertHistory(
      tx,
      tenant,
      book.changes.map(({ transition }) => transition),
    ),
  ]);
  if (taken.size < book.newRequests.length) throw new RequestIdTaken("a request_id was taken meanwhile");
  return { outcomes, changes: book.changes, announcement };
}

/**
 * The orders of a batch while its calls are judged one after the other, and what they leave to be written.
 */
class Book {
  readonly changes: Change[] = [];
  readonly news: { event: Change["events"][number]; correlationId: string }[] = [];
  readonly newRequests: RequestKey[] = [];
  readonly #now: number;
  readonly #found: ReadonlyMap<string, Order>;
  readonly #orders: Map<string, Order>;
  readonly #used: Map<string, RequestKey>;

  constructor(now: number, orders: ReadonlyMap<string, Order>, used: ReadonlyMap<string, RequestKey>) {
    this.#now = now;
    this.#found = orders;
    this.#orders = new Map(orders);
    this.#used = new Map(used);
  }

  /**
   * Judges one call; throws what its caller is to be told, which may be an effect too. An order met after its
   * time is expired on the spot.
   */
  apply(call: ChangeCall): Order {
    const { orderId, request } = call;
    const used = request && this.#used.get(request.requestId);
    if (used && !isSameRequest(used, request)) throw requestIdReused();
    const order = this.#orders.get(orderId);
    if (!order) throw orderNotFound(orderId);
    if (!used && isDue(order, this.#now)) this.#write(expire(order, this.#now, "touch"), call);
    const judged = this.#orders.get(orderId) ?? order;
    const step = used ? stepOfRepeated(judged, call.intent) : stepOf(judged, this.#now, call.intent);
    if (step.change) this.#write(step.change, call);
    if (request && !used && step.hasEffect) {
      this.#used.set(request.requestId, request);
      this.newRequests.push(request);
    }
    if (step.refusal) throw step.refusal;
    return step.change?.order ?? judged;
  }

  /** The orders that changed, each with the version that was locked: those paid late, or all others. */
  saved(which: "in time" | "late") {
    const ids = new Set(this.changes.map(({ order }) => order.orderId));
    return [...ids].flatMap((orderId) => {
      const [order, found] = [this.#orders.get(orderId), this.#found.get(orderId)];
      if (!order || !found) return [];
      const isLate = found.state === "EXPIRED" || isPaidLate(order);
      return isLate === (which === "late") ? [{ order, judgedVersion: found.version }] : [];
    });
  }

  #write(change: Change, { correlationId }: ChangeCall): void {
    this.#orders.set(change.order.orderId, change.order);
    this.changes.push(change);
    for (const event of change.events) this.news.push({ event, correlationId });
  }
}

// Such an order may have been PENDING when it was locked, and expired on the spot.
function isPaidLate(order: Order): boolean {
  return order.lateAttempt !== undefined || order.refundRequired || order.refundResolveTime !== undefined;
}

/** The refusal of an id that no order has. */
export function orderNotFound(orderId: string): DomainError {
  return new DomainError("ORDER_NOT_FOUND", `there is no order ${orderId}`, {
    metadata: { order_id: orderId },
  });
}
