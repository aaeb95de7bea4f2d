/** The first transaction of a placement: the order as RESERVING, under its request_id. */
import type { Outcome } from "#libs/batch";
import { type ClockReading, inTransaction, readClock, retryConflicts, type Sql } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { type Order, place } from "../domain/order.ts";
import { orderIdTaken } from "../domain/reservation.ts";
import { readOrders, type Snapshot } from "../store/orders.ts";
import { countAttempt, isIdTaken, type NewOrders, type Opening, openOrders } from "../store/placement.ts";
import { findRequests, type RequestKey } from "../store/requests.ts";

/** An order that waits for its stock. */
export type Reserving = {
  readonly kind: "reserving";
  readonly order: Order;
  readonly isNew: boolean;
  /** The database's clock. */
  readonly clock: ClockReading;
};

/** What a call found or made. */
export type Opened =
  /** RESERVING: made by this call, or by the same request before, whose way this call goes on. */
  | Reserving
  /** The same request was here before and its order has left RESERVING. */
  | { readonly kind: "known"; readonly order: Order; readonly now: number }
  /**
   * Nothing was written and nothing is there: the same request was here before and its order has just been
   * taken back, or an id of another call of the batch was taken in this very moment. Begin anew.
   */
  | { readonly kind: "gone" };

/** Opens the placements of a batch, each by itself. */
export async function openPlacements(
  sql: Sql,
  tenant: string,
  openings: readonly Opening[],
): Promise<Outcome<Opened>[]> {
  const first = firstOfTheirIds(openings);
  const { createTime, orderIds } = await openNew(sql, tenant, [...first]);
  const clock = readClock(createTime);
  const isNew = (opening: Opening) => first.has(opening) && orderIds.has(opening.draft.orderId);
  const others = openings.filter((opening) => !isNew(opening));
  const judged = others.length > 0 ? await judgeOthers(sql, tenant, others) : undefined;
  return openings.map((opening): Outcome<Opened> => {
    if (!isNew(opening)) return judged?.get(opening) ?? gone;
    const order = place(opening.draft, createTime);
    return { ok: true, value: { kind: "reserving", order, isNew: true, clock } };
  });
}

const gone: Outcome<Opened> = { ok: true, value: { kind: "gone" } };

// Of those that want the same order_id or come with the same request_id, the first of the batch.
function firstOfTheirIds(openings: readonly Opening[]): Set<Opening> {
  const ids = new Set<string>();
  const first = new Set<Opening>();
  for (const opening of openings) {
    const { draft, request } = opening;
    const own = request ? [draft.orderId, `request ${request.requestId}`] : [draft.orderId];
    if (own.some((id) => ids.has(id))) continue;
    for (const id of own) ids.add(id);
    first.add(opening);
  }
  return first;
}

async function openNew(sql: Sql, tenant: string, openings: readonly Opening[]): Promise<NewOrders> {
  try {
    return await retryConflicts(() => openOrders(sql, tenant, openings));
  } catch (error) {
    if (isIdTaken(error)) return { createTime: 0, orderIds: new Set() };
    throw error;
  }
}

// Nothing was written for these: they are judged by what is there.
async function judgeOthers(
  sql: Sql,
  tenant: string,
  openings: readonly Opening[],
): Promise<Map<Opening, Outcome<Opened>>> {
  const requestIds = openings.flatMap(({ request }) => (request ? [request.requestId] : []));
  return await inTransaction(sql, async (tx) => {
    const used = await findRequests(tx, tenant, requestIds);
    const repeated = new Set(openings.flatMap((opening) => orderOfRepeated(opening, used)));
    await countAttempt(tx, tenant, [...repeated]);
    const wanted = new Set([...repeated, ...openings.map(({ draft }) => draft.orderId)]);
    const snapshot = await readOrders(tx, tenant, [...wanted]);
    const clock = readClock(snapshot.now);
    return new Map(openings.map((opening) => [opening, judge(opening, used, snapshot, clock)]));
  });
}

function orderOfRepeated({ request }: Opening, usedRequests: ReadonlyMap<string, RequestKey>): string[] {
  const used = usedRequests.get(request?.requestId ?? "");
  return used && isSameRequest(used, request) ? [used.orderId] : [];
}

function judge(
  { draft, request }: Opening,
  usedRequests: ReadonlyMap<string, RequestKey>,
  { now, orders }: Snapshot,
  clock: ClockReading,
): Outcome<Opened> {
  const used = usedRequests.get(request?.requestId ?? "");
  if (!used) return orders.has(draft.orderId) ? { ok: false, error: orderIdTaken(draft.orderId) } : gone;
  if (!isSameRequest(used, request)) return { ok: false, error: requestIdReused() };
  const order = orders.get(used.orderId);
  if (!order) return gone;
  if (order.state === "RESERVING")
    return { ok: true, value: { kind: "reserving", order, isNew: false, clock } };
  return { ok: true, value: { kind: "known", order, now } };
}

/** Whether two uses of one request_id are the same request. */
export function isSameRequest(one: RequestKey, other: RequestKey | undefined): boolean {
  return other !== undefined && Buffer.compare(one.hash, other.hash) === 0;
}

/** The refusal of a request_id that another request has used. */
export function requestIdReused(): DomainError {
  const description = "was used before for a request with other content: use a new one";
  return new DomainError("REQUEST_ID_REUSED", `request_id: ${description}`, {
    fields: [{ field: "request_id", description }],
  });
}
