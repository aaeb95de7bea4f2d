/** The calls about reservations: those made directly, and those that orders make. */
import { isOneCallsFault, type Sql } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { type Call, decodePageToken, encodePageToken, type Handlers, pageOf, pageSizeOf } from "#libs/rpc";
import { type InventoryService, Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import type { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import type { Changes } from "../changes.ts";
import { reservationKeyOf } from "../convert/pages.ts";
import { commitCall, extendCall, idOf, orderCall, releaseCall, reserveCall } from "../convert/requests.ts";
import {
  refusalMessage,
  reservationMessage,
  reservationState,
  reservationStateOf,
} from "../convert/responses.ts";
import { reservationNotFound } from "../domain/reservation.ts";
import { listReservations, readReservation } from "../store/reservations.ts";

type ReservationHandlers = Pick<
  Handlers<(typeof InventoryService)["method"]>,
  | "createReservation"
  | "getReservation"
  | "listReservations"
  | "commitReservation"
  | "releaseReservation"
  | "extendReservation"
>;

/** The handlers of reservations made directly. */
export function createReservationHandlers(sql: Sql, changes: Changes): ReservationHandlers {
  return {
    createReservation: async (request, call) => {
      const asked = reserveCall(request);
      const reservation = await changes.reservation(call.caller.tenant, asked, () => call.isAbandoned());
      return { reservation: reservationMessage(reservation) };
    },

    getReservation: async (request, { caller }) => {
      const reservationId = idOf(request.reservationId);
      const reservation = await readReservation(sql, caller.tenant, reservationId);
      if (!reservation) throw reservationNotFound(reservationId);
      return { reservation: reservationMessage(reservation) };
    },

    listReservations: async ({ state, owner, pageSize, pageToken }, { caller }) => {
      const filter = ["reservations", caller.tenant, state, owner];
      const after = reservationKeyOf(decodePageToken(pageToken, filter, ["time", "uuid"]));
      const limit = pageSizeOf(pageSize);
      const wanted = { state: reservationStateOf(state), owner };
      const found = await listReservations(sql, caller.tenant, wanted, { after, limit: limit + 1 });
      const { page, last } = pageOf(found, limit);
      return {
        reservations: page.map(reservationMessage),
        nextPageToken: last ? encodePageToken(filter, [String(last.createTime), last.reservationId]) : "",
      };
    },

    commitReservation: async (request, call) => {
      const asked = commitCall(request);
      const reservation = await changes.reservation(call.caller.tenant, asked, () => call.isAbandoned());
      return { reservation: reservationMessage(reservation) };
    },

    releaseReservation: async (request, call) => {
      const asked = releaseCall(request);
      const reservation = await changes.reservation(call.caller.tenant, asked, () => call.isAbandoned());
      return { reservation: reservationMessage(reservation) };
    },

    extendReservation: async (request, call) => {
      const asked = extendCall(request);
      const reservation = await changes.reservation(call.caller.tenant, asked, () => call.isAbandoned());
      return { reservation: reservationMessage(reservation) };
    },
  };
}

/** The handler of the reservations that orders make. */
export function createOrderReservationHandlers(
  changes: Changes,
): Handlers<(typeof OrderReservationService)["method"]> {
  return {
    reserveOrders: async ({ orders }, call) => {
      call.log.info(
        { requestId: call.requestId, traceIds: orders.map((order) => order.traceId) },
        "orders reserve",
      );
      const isAbandoned = () => call.isAbandoned();
      const results = orders.map(async (order) => {
        try {
          const { state } = await changes.reservation(call.caller.tenant, orderCall(order), isAbandoned);
          return { state: reservationState(state) };
        } catch (error) {
          const refusal = refusalMessage(
            isOneCallsFault(error) ? defectOf(order.orderId, error, call) : error,
          );
          return { state: Reservation_State.STATE_UNSPECIFIED, refusal };
        }
      });
      return { results: await Promise.all(results) };
    },
  };
}

// What breaks down at one order's rows is told to that order alone; the others have their answers.
function defectOf(orderId: string, error: unknown, call: Call): DomainError {
  call.log.error({ requestId: call.requestId, orderId, err: error }, "an order could not be reserved");
  return new DomainError(
    "INTERNAL_ERROR",
    `something went wrong here: tell us the request id ${call.requestId}`,
    { metadata: { request_id: call.requestId } },
    { cause: error },
  );
}
