/** What this service needs of Inventory: the stock of many orders in one call. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { Logger } from "pino";
import { DomainError } from "#libs/reasons";
import { createGuard, createRetryBudget, createRpcClient, type GuardState, instancesTried } from "#libs/rpc";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  type OrderReservationSchema,
  OrderReservationService,
  type ReserveOrderRefusal,
  type ReserveOrderResult,
} from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { limits } from "./domain/limits.ts";
import type { OrderLine } from "./domain/order.ts";
import type { Refusal, Reserved } from "./domain/reservation.ts";
import type { OrderMetrics } from "./metrics.ts";

/** An order that needs stock. */
export type OrderToReserve = {
  readonly orderId: string;
  /** The order's id, or another if its stock is reserved again. */
  readonly reservationId: string;
  readonly lines: readonly OrderLine[];
  /** The request it came of, for Inventory's log. */
  readonly requestId: string;
  /** When its caller stops waiting, in milliseconds of performance.now(). */
  readonly deadline: number;
};

/**
 * Reserves the stock of orders under the given ids, each by itself, and answers each in its place. It may be
 * repeated. Rejects if nobody knows what became of them.
 */
export type ReserveOrders = (
  tenant: string,
  orders: readonly OrderToReserve[],
) => Promise<readonly Reserved[]>;

const RETRY_AFTER_MS = 500;
/** Left of a caller's deadline to tell it that Inventory does not answer, in a busy moment too. */
const ANSWER_MS = 250;
/**
 * Who answers late within less than this is not away, but asked by callers in a hurry: a batch takes some 10
 * ms, and a pause of the database some hundreds.
 */
const OUTAGE_MS = 1_000;

export type InventoryParts = {
  /** `http://host:port` of each instance. */
  readonly urls: readonly string[];
  readonly log: Logger;
  readonly metrics: OrderMetrics;
};

/** Inventory, as this process sees it. */
export type Inventory = {
  readonly reserveOrders: ReserveOrders;
  /** `closed` while calls go, `open` while they fail at once, `halfOpen` while one tries. */
  circuit(): GuardState;
};

/** Makes the way to Inventory's instances: behind a circuit breaker, and tried once more within a budget. */
export function connectInventory({ urls, log, metrics }: InventoryParts): Inventory {
  const budget = createRetryBudget();
  const client = createRpcClient({
    urls,
    service: OrderReservationService,
    timeoutMs: limits.reserveTimeoutMs,
    budget,
  });
  const guard = createGuard({
    dependency: "Inventory",
    log,
    budget,
    isOutage,
    saysNothing: (error) => error instanceof DomainError && error.reason === "DEADLINE_PASSED",
    onState: (state) => metrics.setInventoryCircuit(state),
  });

  async function reserveOnce(
    orders: readonly OrderToReserve[],
    isRepetition: boolean,
  ): Promise<readonly Reserved[]> {
    const startedAt = performance.now();
    const timeoutMs = timeoutOf(orders, startedAt);
    const contextValues = createContextValues();
    try {
      const request = { orders: orders.map(toProto) };
      const { results } = await client.reserveOrders(request, { timeoutMs, contextValues });
      metrics.observeInventoryCall("OK", performance.now() - startedAt);
      if (results.length !== orders.length) {
        throw new Error(`Inventory answered ${results.length} of ${orders.length} orders`);
      }
      const repeated = isRepetition || contextValues.get(instancesTried) > 1;
      return results.map((result) => fromProto(result, repeated));
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      metrics.observeInventoryCall(Code[error.code], performance.now() - startedAt);
      const isInAHurry = error.code === Code.DeadlineExceeded && timeoutMs < OUTAGE_MS;
      const repeated = isRepetition || contextValues.get(instancesTried) > 1;
      throw isInAHurry ? outOfTime(error) : failureOf(error, repeated);
    }
  }

  return {
    reserveOrders: (_tenant, orders) => {
      let tries = 0;
      return guard.run(() => {
        tries += 1;
        return reserveOnce(orders, tries > 1);
      });
    },
    circuit: () => guard.state(),
  };
}

// The longest that anyone of the batch waits: those whose time is up before have been told by then.
function timeoutOf(orders: readonly OrderToReserve[], now: number): number {
  const deadline = orders.reduce((latest, order) => Math.max(latest, order.deadline), now);
  const leftMs = deadline - now;
  if (leftMs <= 0) throw outOfTime();
  return Math.min(limits.reserveTimeoutMs, Math.ceil(Math.max(leftMs - ANSWER_MS, leftMs / 2)));
}

function outOfTime(cause?: ConnectError): DomainError {
  return new DomainError(
    "DEADLINE_PASSED",
    "the deadline left Inventory no time to answer: send the same request, with the same request_id, again",
    { metadata: { dependency: "inventory" } },
    { cause },
  );
}

function toProto({
  orderId,
  reservationId,
  lines,
  requestId,
}: OrderToReserve): MessageInitShape<typeof OrderReservationSchema> {
  return {
    orderId,
    reservationId,
    traceId: requestId,
    lines: lines.map(({ sku, quantity, locationId }) => ({ sku, quantity, locationId })),
  };
}

function fromProto({ state, refusal }: ReserveOrderResult, repeated: boolean): Reserved {
  if (refusal) return { state: "REFUSED", refusal: fromProtoRefusal(refusal), repeated };
  // COMMITTED means that the order is settled already, by another call: its own row says so.
  if (state === Reservation_State.ACTIVE || state === Reservation_State.COMMITTED)
    return { state: "RESERVED" };
  if (state === Reservation_State.RELEASED) return { state: "RELEASED" };
  throw new Error(`Inventory answered an order with the reservation state ${state}`);
}

function fromProtoRefusal(refusal: ReserveOrderRefusal): Refusal {
  const { reason, message, metadata, field } = refusal;
  const shortages = refusal.shortages.map(({ sku, locationId, requested, available }) => ({
    sku,
    locationId,
    requested,
    available,
  }));
  return { reason, message, metadata, shortages, field };
}

function failureOf(error: ConnectError, repeated: boolean): DomainError {
  // After an earlier try, which may still be at work, nobody can say that nothing was reserved.
  if (error.code === Code.ResourceExhausted && !repeated) {
    return new DomainError(
      "OVERLOADED",
      "Inventory has more to do than it can: come back in a moment",
      { metadata: { dependency: "inventory" }, retryAfterMs: RETRY_AFTER_MS },
      { cause: error },
    );
  }
  return new DomainError(
    "DEPENDENCY_UNAVAILABLE",
    "Inventory does not answer: send the same request, with the same request_id, again in a moment",
    { metadata: { dependency: "inventory" }, retryAfterMs: RETRY_AFTER_MS },
    { cause: error },
  );
}

/** The codes that say that nobody answered; with any other Inventory is there. */
const outages: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unknown,
]);

function isOutage(error: unknown): boolean {
  if (!(error instanceof DomainError) || error.reason !== "DEPENDENCY_UNAVAILABLE") return false;
  return error.cause instanceof ConnectError && outages.has(error.cause.code);
}
