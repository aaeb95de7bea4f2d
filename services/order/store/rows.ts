import { DEFAULT_LOCATION } from "../domain/limits.ts";
import type { Order, OrderLine, Rejection, State } from "../domain/order.ts";

/** The columns that make an order, as every statement that reads one names them. */
export type OrderRow = {
  order_id: string;
  state: State;
  version: number;
  customer_id: string;
  currency: string;
  note: string;
  create_time: Date;
  update_time: Date;
  expire_time: Date | null;
  end_time: Date | null;
  payment_reference: string;
  cancel_reason: string;
  rejection: Rejection | null;
  late: boolean;
  late_reservation_id: string | null;
  late_attempt_time: Date | null;
  /** Read of locked rows only: who does not judge has no use for it. */
  late_payment_references?: string[];
  refund_required: boolean;
  refund_resolution: string;
  refund_resolve_time: Date | null;
};

/** One line of one order. */
export type LineRow = {
  order_id: string;
  sku: string;
  location_id: string;
  quantity: number;
  unit_amount: bigint;
};

/** Sorts lines, which come in their order, by the order they belong to. */
export function linesByOrder(rows: readonly LineRow[]): ReadonlyMap<string, readonly OrderLine[]> {
  const lines = new Map<string, OrderLine[]>();
  for (const row of rows) {
    const line = {
      sku: row.sku,
      quantity: row.quantity,
      // Orders of a release before have it as it was sent.
      locationId: row.location_id === "" ? DEFAULT_LOCATION : row.location_id,
      unitAmount: row.unit_amount,
    };
    const ofOrder = lines.get(row.order_id);
    if (ofOrder) ofOrder.push(line);
    else lines.set(row.order_id, [line]);
  }
  return lines;
}

/** The order of a row and its lines. */
export function orderOf(row: OrderRow, lines: readonly OrderLine[]): Order {
  return {
    orderId: row.order_id,
    state: row.state,
    version: row.version,
    customerId: row.customer_id,
    lines,
    currency: row.currency,
    note: row.note,
    createTime: row.create_time.getTime(),
    updateTime: row.update_time.getTime(),
    expireTime: row.expire_time?.getTime(),
    endTime: row.end_time?.getTime(),
    paymentReference: row.payment_reference,
    cancelReason: row.cancel_reason,
    rejection: row.rejection ?? undefined,
    late: row.late,
    lateReservationId: row.late_reservation_id ?? undefined,
    lateAttempt:
      row.late_attempt_time && row.late_reservation_id !== null
        ? { reservationId: row.late_reservation_id, startTime: row.late_attempt_time.getTime() }
        : undefined,
    latePaymentReferences: row.late_payment_references ?? [],
    refundRequired: row.refund_required,
    refundResolution: row.refund_resolution,
    refundResolveTime: row.refund_resolve_time?.getTime(),
  };
}
