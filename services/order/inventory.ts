/** What this service needs of Inventory: the stock of many orders in one call. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { DomainError } from "#libs/reasons";
import { createRpcClient } from "#libs/rpc";
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

/** Makes the call to Inventory's instances at `urls`; `observe` is told the outcome and the time of each. */
export function createReserveOrders(
  urls: readonly string[],
  observe: (outcome: string, tookMs: number) => void,
): ReserveOrders {
  const client = createRpcClient({
    urls,
    service: OrderReservationService,
    timeoutMs: limits.reserveTimeoutMs,
  });
  return async (_tenant, orders) => {
    const startedAt = performance.now();
    try {
      const { results } = await client.reserveOrders({ orders: orders.map(toProto) });
      observe("OK", performance.now() - startedAt);
      if (results.length !== orders.length) {
        throw new Error(`Inventory answered ${results.length} of ${orders.length} orders`);
      }
      return results.map(fromProto);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      observe(Code[error.code], performance.now() - startedAt);
      throw failureOf(error);
    }
  };
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
