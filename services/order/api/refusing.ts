/** The end of a placement without stock: RESERVING to REJECTED, or as if it had never been sent. */
import type { Outcome } from "#libs/batch";
import type { Tx } from "#libs/db";
import type { Announcer } from "../announcer.ts";
import { abandon, abandonment, type Change, type Order, reject } from "../domain/order.ts";
import { isOfTheMoment, type Verdict } from "../domain/reservation.ts";
import { type Left, rejectOrders, takeBack } from "../store/placement.ts";
import { deleteRequests } from "../store/requests.ts";
import { answerOf, answerOfOther, type Finished, type FinishedBatch, readOthers } from "./finished.ts";

/** A RESERVING order, and why it does not get its stock. */
export type RefusingCall = {
  readonly order: Order;
  readonly verdict: Exclude<Verdict, { readonly kind: "confirm" }>;
  readonly requestId: string | undefined;
  readonly correlationId: string;
};

/**
 * Refuses the orders of a batch, each by itself. The rows judge: an order that has left RESERVING stays as it
 * is.
 */
export async function refusePlacements(
  tx: Tx,
  tenant: string,
  calls: readonly RefusingCall[],
  announcer: Announcer,
): Promise<FinishedBatch> {
  const left = await writeVerdicts(tx, tenant, calls);
  const changes = new Map<RefusingCall, Change>();
  for (const call of calls) {
    const change = changeOf(call, left.get(call));
    if (change) changes.set(call, change);
  }
  const [announcement, others] = await Promise.all([
    announcer.write(
      tx,
      tenant,
      [...changes].flatMap(([{ correlationId }, { events }]) =>
        events.map((event) => ({ event, correlationId })),
      ),
    ),
    readOthers(
      tx,
      tenant,
      calls.filter((call) => !left.has(call)),
    ),
  ]);
  const outcomes = calls.map((call): Outcome<Finished> => {
    const { orderId } = call.order;
    const stays = others.orders.get(orderId)?.state === "RESERVING";
    if (call.verdict.kind === "takeBack" && (left.has(call) || stays)) {
      return { ok: false, error: call.verdict.error };
    }
    const order = changes.get(call)?.order;
    return order ? answerOf(order, order.updateTime) : answerOfOther(others, orderId);
  });
  return { outcomes, changes: [...changes.values()], announcement };
}

type Gone = "taken back";

/** Writes the verdicts on the orders that are still RESERVING; returns how each of those left it. */
async function writeVerdicts(
  tx: Tx,
  tenant: string,
  calls: readonly RefusingCall[],
): Promise<Map<RefusingCall, Left | Gone>> {
  const wrong = calls.flatMap(({ verdict, ...call }) =>
    verdict.kind === "takeBack" ? [{ ...call, error: verdict.error }] : [],
  );
  const [rejected, gone] = await Promise.all([
    rejectOrders(tx, tenant, calls.flatMap(refusalOf)),
    takeBack(
      tx,
      tenant,
      wrong.map(({ order }) => order.orderId),
    ),
  ]);
  // Another call works at the order too and may have its stock: it is given up, which gives any stock back.
  // But where this call may succeed in a moment, it stays RESERVING until then.
  const contested = wrong.filter(({ order, error }) => !gone.has(order.orderId) && !isOfTheMoment(error));
  const [givenUp] = await Promise.all([
    rejectOrders(
      tx,
      tenant,
      contested.map(({ order: { orderId } }) => ({ orderId, rejection: abandonment })),
    ),
    deleteRequests(
      tx,
      tenant,
      wrong.flatMap(({ order, requestId }) => (requestId && gone.has(order.orderId) ? [requestId] : [])),
    ),
  ]);
  const left = new Map<RefusingCall, Left | Gone>();
  for (const call of calls) {
    const { orderId } = call.order;
    const how = rejected.get(orderId) ?? givenUp.get(orderId);
    if (how) left.set(call, how);
    else if (gone.has(orderId)) left.set(call, "taken back");
  }
  return left;
}

function refusalOf({ order: { orderId }, verdict }: RefusingCall) {
  if (verdict.kind === "reject") return [{ orderId, rejection: verdict.rejection }];
  if (verdict.kind === "abandon") return [{ orderId, rejection: abandonment }];
  return [];
}

function changeOf({ order, verdict }: RefusingCall, left: Left | Gone | undefined): Change | undefined {
  if (left === undefined || left === "taken back") return undefined;
  if (verdict.kind === "reject") {
    // A call that works at the order beside this one may have its stock.
    return reject(order, left.time, verdict.rejection, verdict.releases || left.attempts > 1);
  }
  return abandon(order, left.time, "api");
}
