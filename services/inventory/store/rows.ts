/** Rows as the driver gives them, and what they mean. */
import type { RequestRecord } from "../domain/calls.ts";
import type { Line, Reservation, ReservationState } from "../domain/reservation.ts";
import type { Level, Movement, MovementType } from "../domain/stock.ts";

export type LineJson = { readonly sku: string; readonly location_id: string; readonly quantity: number };

export type ReservationRow = {
  readonly reservation_id: string;
  readonly state: ReservationState;
  readonly owner: string;
  readonly lines: readonly LineJson[];
  readonly create_time: Date;
  readonly expire_time: Date | null;
  readonly end_time: Date | null;
};

export type LevelRow = {
  readonly sku: string;
  readonly location_id: string;
  readonly on_hand: number;
  readonly reserved: number;
  readonly version: bigint;
  readonly archived: boolean;
  readonly reorder_point: number;
  readonly update_time: Date;
};

export type MovementRow = {
  readonly sku: string;
  readonly location_id: string;
  readonly version: bigint;
  readonly type: MovementType;
  readonly on_hand_delta: number;
  readonly reserved_delta: number;
  readonly on_hand_after: number;
  readonly reserved_after: number;
  readonly cause: string;
  readonly reason: string | null;
  readonly reference: string | null;
  readonly create_time: Date;
};

export type RequestRow = {
  readonly request_id: string;
  readonly request_hash: string;
  readonly resource: string;
  readonly response: readonly Movement[] | null;
};

/** The reservation of a row. */
export function reservationFrom(row: ReservationRow): Reservation {
  return {
    reservationId: row.reservation_id,
    state: row.state,
    owner: row.owner,
    lines: row.lines.map(({ sku, location_id, quantity }) => ({ sku, locationId: location_id, quantity })),
    createTime: row.create_time.getTime(),
    ...(row.expire_time === null ? {} : { expireTime: row.expire_time.getTime() }),
    ...(row.end_time === null ? {} : { endTime: row.end_time.getTime() }),
  };
}

/** The lines of a reservation as they are kept in its row. */
export function linesJson(lines: readonly Line[]): string {
  return JSON.stringify(
    lines.map(({ sku, locationId, quantity }): LineJson => ({ sku, location_id: locationId, quantity })),
  );
}

/** The level of a row. */
export function levelFrom(row: LevelRow): Level {
  return {
    sku: row.sku,
    locationId: row.location_id,
    onHand: row.on_hand,
    reserved: row.reserved,
    // A billion movements a second would take a hundred days to pass what a number counts exactly.
    version: Number(row.version),
    archived: row.archived,
    reorderPoint: row.reorder_point,
    updateTime: row.update_time.getTime(),
  };
}

/** The movement of a row. */
export function movementFrom(row: MovementRow): Movement {
  return {
    sku: row.sku,
    locationId: row.location_id,
    version: Number(row.version),
    type: row.type,
    onHandDelta: row.on_hand_delta,
    reservedDelta: row.reserved_delta,
    onHandAfter: row.on_hand_after,
    reservedAfter: row.reserved_after,
    cause: row.cause,
    reason: row.reason ?? "",
    reference: row.reference ?? "",
    createTime: row.create_time.getTime(),
  };
}

/** The request of a row. */
export function requestFrom(row: RequestRow): RequestRecord {
  return {
    requestId: row.request_id,
    hash: row.request_hash,
    resource: row.resource,
    ...(row.response === null ? {} : { movements: row.response }),
  };
}
