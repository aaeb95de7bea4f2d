/** From messages of the contract to calls of the domain. */
import { hash as digestOf } from "node:crypto";
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { uuidv7 } from "#libs/db";
import {
  type AdjustStockRequest,
  AdjustStockRequestSchema,
  type CommitReservationRequest,
  CommitReservationRequestSchema,
  type CreateReservationRequest,
  CreateReservationRequestSchema,
  type ExtendReservationRequest,
  ExtendReservationRequestSchema,
  type ReleaseReservationRequest,
  ReleaseReservationRequestSchema,
  type ReservationLine,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import type { OrderReservation } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import type { AdjustCall, EndCall, Expiry, ExtendCall, RequestKey, ReserveCall } from "../domain/calls.ts";
import { DEFAULT_LOCATION, DEFAULT_TTL_MS } from "../domain/limits.ts";
import { type Line, ownerOfOrder } from "../domain/reservation.ts";

/**
 * What makes a request repeatable, if it has an id. The digest covers the kind of request and every field
 * of it but the id itself.
 */
export function requestKey<Desc extends DescMessage>(
  schema: Desc,
  request: MessageShape<Desc> & { readonly requestId: string },
): { readonly request?: RequestKey } {
  if (request.requestId === "") return {};
  const asked = { ...request, requestId: "" };
  const named = Buffer.concat([Buffer.from(`${schema.typeName}\n`), toBinary(schema, asked)]);
  const hash = digestOf("sha256", named, "base64url");
  return { request: { requestId: idOf(request.requestId), hash } };
}

/** An id as the database writes it: in lower case. */
export function idOf(id: string): string {
  return id.toLowerCase();
}

/** The lines of a request, in their order; without a location they are of the default one. */
export function linesOf(lines: readonly ReservationLine[]): Line[] {
  return lines.map(({ sku, quantity, locationId }) => ({
    sku,
    quantity,
    locationId: locationId === "" ? DEFAULT_LOCATION : locationId,
  }));
}

/** The call of a CreateReservation. */
export function reserveCall(request: CreateReservationRequest): ReserveCall {
  const minted = request.reservationId === "";
  return {
    kind: "reserve",
    reservationId: minted ? uuidv7() : idOf(request.reservationId),
    minted,
    owner: request.owner,
    lines: linesOf(request.lines),
    expiry: expiryOf(request.expiry),
    idempotentById: false,
    validateOnly: request.validateOnly,
    ...requestKey(CreateReservationRequestSchema, request),
  };
}

/**
 * The call of one order of a ReserveOrders. One that names another reservation than its own has expired, and
 * the event of that, which releases its own, may be still on its way.
 */
export function orderCall(order: OrderReservation): ReserveCall {
  const orderId = idOf(order.orderId);
  const reservationId = order.reservationId === "" ? orderId : idOf(order.reservationId);
  return {
    kind: "reserve",
    reservationId,
    minted: false,
    owner: ownerOfOrder(orderId),
    lines: linesOf(order.lines),
    expiry: { kind: "none" },
    idempotentById: true,
    validateOnly: false,
    ...(reservationId === orderId ? {} : { replaces: orderId }),
  };
}

/** The call of a CommitReservation. */
export function commitCall(request: CommitReservationRequest): EndCall {
  return {
    kind: "commit",
    reservationId: idOf(request.reservationId),
    party: "caller",
    ...requestKey(CommitReservationRequestSchema, request),
  };
}

/** The call of a ReleaseReservation. */
export function releaseCall(request: ReleaseReservationRequest): EndCall {
  return {
    kind: "release",
    reservationId: idOf(request.reservationId),
    party: "caller",
    ...requestKey(ReleaseReservationRequestSchema, request),
  };
}

/** The call of an ExtendReservation. */
export function extendCall(request: ExtendReservationRequest): ExtendCall {
  return {
    kind: "extend",
    reservationId: idOf(request.reservationId),
    ttlMs: request.ttl ? ttlOf(request.ttl) : 0,
    ...requestKey(ExtendReservationRequestSchema, request),
  };
}

/** The call of an AdjustStock. */
export function adjustCall(request: AdjustStockRequest): AdjustCall {
  return {
    kind: "adjust",
    adjustmentId: uuidv7(),
    changes: request.changes.map(({ sku, locationId, delta, expectedOnHand }) => ({
      sku,
      locationId: locationId === "" ? DEFAULT_LOCATION : locationId,
      delta,
      ...(expectedOnHand === undefined ? {} : { expectedOnHand }),
    })),
    reason: request.reason,
    reference: request.reference,
    ...requestKey(AdjustStockRequestSchema, request),
  };
}

function expiryOf(expiry: CreateReservationRequest["expiry"]): Expiry {
  switch (expiry.case) {
    case undefined:
      return { kind: "ttl", ttlMs: DEFAULT_TTL_MS };
    case "ttl":
      return { kind: "ttl", ttlMs: ttlOf(expiry.value) };
    case "expireTime":
      return { kind: "moment", expireTime: momentOf(expiry.value) };
  }
}

// Times are kept to the millisecond; the contract's finer parts are dropped.
function ttlOf(ttl: Duration): number {
  return Math.floor(durationMs(ttl));
}

function momentOf(time: Timestamp): number {
  return Math.floor(timestampMs(time));
}
