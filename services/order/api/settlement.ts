/** SettleOrder: in time a change like any other; late, a call to Inventory between two changes. */
import type { Batcher } from "#libs/batch";
import { uuidv7 } from "#libs/db";
import { RenewedSet } from "#libs/renewed";
import type { LatePolicy } from "../domain/late.ts";
import { type Reserved, refundCauseOf } from "../domain/reservation.ts";
import type { OrderToReserve } from "../inventory.ts";
import type { RequestKey } from "../store/requests.ts";
import type { Changes, Seen } from "./changes.ts";

export type SettlementParts = {
  readonly changes: Changes;
  readonly reserving: Batcher<OrderToReserve, Reserved>;
};

/** A call that brings a payment. */
export type SettlementCall = {
  readonly tenant: string;
  readonly orderId: string;
  readonly paymentReference: string;
  readonly latePolicy: LatePolicy;
  readonly request: RequestKey | undefined;
  readonly correlationId: string;
  /** When its caller stops waiting, in milliseconds of performance.now(). */
  readonly deadline: number;
  readonly isAbandoned: () => boolean;
};

export type Settlement = {
  /** Settles the order, in time or late, or finds it settled; throws what the caller is to be told. */
  settle(call: SettlementCall): Promise<Seen>;
  /** Resolves when all accepted calls are answered. */
  stop(): Promise<void>;
};

/** Makes the settlement of a process. */
export function createSettlement({ changes, reserving }: SettlementParts): Settlement {
  async function settle(call: SettlementCall): Promise<Seen> {
    const { tenant, orderId, paymentReference, latePolicy, request, correlationId } = call;
    const intent = { kind: "settle", paymentReference, latePolicy, lateReservationId: uuidv7() } as const;
    const seen = await changes.change(tenant, { orderId, request, intent, correlationId }, call.isAbandoned);
    const { lateAttempt } = seen.order;
    return lateAttempt ? await reacquire(call, seen, lateAttempt.reservationId) : seen;
  }

  // The attempt is written: it goes its way to the end, whether or not its caller still waits. If Inventory
  // does not answer it stays, for the same request or for the recovery.
  async function reacquire(call: SettlementCall, { order }: Seen, reservationId: string): Promise<Seen> {
    const { tenant, orderId, correlationId, deadline } = call;
    const { lines } = order;
    const reserved = await reserving.submit(
      { orderId, reservationId, lines, requestId: correlationId, deadline },
      { key: tenant },
    );
    const intent = { kind: "endAttempt", reservationId, refundCause: refundCauseOf(reserved) } as const;
    const change = { orderId, request: undefined, intent, correlationId };
    return await changes.change(tenant, change, () => false);
  }

  const underWay = new RenewedSet<Promise<Seen>>();

  return {
    settle: async (call) => {
      const work = settle(call);
      underWay.add(work);
      try {
        return await work;
      } finally {
        underWay.delete(work);
      }
    },
    stop: async () => {
      await Promise.allSettled(underWay);
    },
  };
}
