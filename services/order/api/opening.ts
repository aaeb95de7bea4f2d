/** The first transaction of a placement: the order as RESERVING, under its request_id. */
import type { Outcome } from "#libs/batch";
import type { Tx } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { type Draft, type Order, place } from "../domain/order.ts";
import { orderIdTaken } from "../domain/reservation.ts";
import { readOrders } from "../store/orders.ts";
import { countAttempt, insertLines, insertOrders } from "../store/placement.ts";
import { deleteRequests, findRequests, insertRequests, type RequestKey } from "../store/requests.ts";

/** A call that wants an order placed. */
export type OpeningCall = { readonly draft: Draft; readonly request: RequestKey | undefined };

/** What a call found or made. */
export type Opened =
  /** RESERVING: made by this call, or by the same request before, whose way this call goes on. */
  | { readonly kind: "reserving"; readonly order: Order; readonly isNew: boolean }
  /** The same request was here before and its order has left RESERVING. */
  | { readonly kind: "known"; readonly order: Order; readonly now: number }
  /** The same request was here before and its order has just been taken back: begin anew. */
  | { readonly kind: "gone" };

/** Opens the placements of a batch, each by itself. */
export async function openPlacements(
  tx: Tx,
  tenant: string,
  calls: readonly OpeningCall[],
): Promise<Outcome<Opened>[]> {
  const claims = firstBy(calls, (call) => call.request?.requestId);
  const claimed = await insertRequests(tx, tenant, requestsOf([...claims.values()]));
  const isNew = (call: OpeningCall): boolean =>
    call.request === undefined ||
    (claimed.has(call.request.requestId) && claims.get(call.request.requestId) === call);
  const opening = calls.filter(isNew);
  const owners = firstBy(opening, (call) => call.draft.orderId);
  const createTimes = await insertOrders(
    tx,
    tenant,
    [...owners.values()].map(({ draft }) => draft),
  );
  const hasOpened = (call: OpeningCall): boolean =>
    createTimes.has(call.draft.orderId) && owners.get(call.draft.orderId) === call;
  const refused = requestsOf(opening.filter((call) => !hasOpened(call)));
  await Promise.all([
    insertLines(
      tx,
      tenant,
      opening.filter(hasOpened).map(({ draft }) => draft),
    ),
    deleteRequests(
      tx,
      tenant,
      refused.map(({ requestId }) => requestId),
    ),
  ]);
  const repeated = await findRepeated(
    tx,
    tenant,
    calls.filter((call) => !isNew(call)),
  );
  return calls.map((call) => {
    const found = repeated.get(call);
    if (found) return found;
    const createTime = createTimes.get(call.draft.orderId);
    if (createTime === undefined || !hasOpened(call)) {
      return { ok: false, error: orderIdTaken(call.draft.orderId) };
    }
    return { ok: true, value: { kind: "reserving", order: place(call.draft, createTime), isNew: true } };
  });
}

async function findRepeated(
  tx: Tx,
  tenant: string,
  calls: readonly OpeningCall[],
): Promise<Map<OpeningCall, Outcome<Opened>>> {
  if (calls.length === 0) return new Map();
  const used = await findRequests(
    tx,
    tenant,
    requestsOf(calls).map(({ requestId }) => requestId),
  );
  const orderIds = [...new Set([...used.values()].map(({ orderId }) => orderId))];
  await countAttempt(tx, tenant, orderIds);
  const { now, orders } = await readOrders(tx, tenant, orderIds);
  return new Map(
    calls.map((call): [OpeningCall, Outcome<Opened>] => {
      const request = used.get(call.request?.requestId ?? "");
      if (!request) return [call, { ok: true, value: { kind: "gone" } }];
      if (!isSameRequest(request, call.request)) return [call, { ok: false, error: requestIdReused() }];
      const order = orders.get(request.orderId);
      if (!order) return [call, { ok: true, value: { kind: "gone" } }];
      if (order.state === "RESERVING") {
        return [call, { ok: true, value: { kind: "reserving", order, isNew: false } }];
      }
      return [call, { ok: true, value: { kind: "known", order, now } }];
    }),
  );
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

function requestsOf(calls: readonly OpeningCall[]): RequestKey[] {
  return calls.flatMap(({ request }) => (request ? [request] : []));
}

function firstBy<Value>(
  values: readonly Value[],
  keyOf: (value: Value) => string | undefined,
): Map<string, Value> {
  const first = new Map<string, Value>();
  for (const value of values) {
    const key = keyOf(value);
    if (key !== undefined && !first.has(key)) first.set(key, value);
  }
  return first;
}
