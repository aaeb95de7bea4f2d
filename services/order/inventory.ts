/** What this service needs of Inventory: the stock of many orders in one call. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import { DomainError } from "#libs/reasons";
import { createGuard, createRpcClient } from "#libs/rpc";
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
  readonly lines: readonly OrderLine[];
  /** The request it came of, for Inventory's log. */
  readonly requestId: string;
};

/**
 * Reserves the stock of orders under their own ids, each by itself, and answers each in its place. It may be
 * repeated. Rejects if nobody knows what became of them.
 */
export type ReserveOrders = (
  tenant: string,
  orders: readonly OrderToReserve[],
) => Promise<readonly Reserved[]>;

const RETRY_AFTER_MS = 500;

export type InventoryParts = {
  /** `http://host:port` of each instance. */
  readonly urls: readonly string[];
  readonly log: Logger;
  readonly metrics: OrderMetrics;
};

/** Makes the call to Inventory's instances: behind a circuit breaker, and tried once more within a budget. */
export function createReserveOrders({ urls, log, metrics }: InventoryParts): ReserveOrders {
  const client = createRpcClient({
    urls,
    service: OrderReservationService,
    timeoutMs: limits.reserveTimeoutMs,
  });
  const guard = createGuard({
    dependency: "Inventory",
    log,
    isOutage,
    onState: (state) => metrics.setInventoryCircuit(state),
  });

  async function reserveOnce(orders: readonly OrderToReserve[]): Promise<readonly Reserved[]> {
    const startedAt = performance.now();
    try {
      const { results } = await client.reserveOrders({ orders: orders.map(toProto) });
      metrics.observeInventoryCall("OK", performance.now() - startedAt);
      if (results.length !== orders.length) {
        throw new Error(`Inventory answered ${results.length} of ${orders.length} orders`);
      }
      return results.map(fromProto);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      metrics.observeInventoryCall(Code[error.code], performance.now() - startedAt);
      throw failureOf(error);
    }
  }

  return (_tenant, orders) => guard.run(() => reserveOnce(orders));
}

function toProto({
  orderId,
  lines,
  requestId,
}: OrderToReserve): MessageInitShape<typeof OrderReservationSchema> {
  return {
    orderId,
    traceId: requestId,
    lines: lines.map(({ sku, quantity, locationId }) => ({ sku, quantity, locationId })),
  };
}

function fromProto({ state, refusal }: ReserveOrderResult): Reserved {
  if (refusal) return { state: "REFUSED", refusal: fromProtoRefusal(refusal) };
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

function failureOf(error: ConnectError): DomainError {
  if (error.code === Code.ResourceExhausted) {
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
  return error instanceof DomainError && error.cause instanceof ConnectError && outages.has(error.cause.code);
}
