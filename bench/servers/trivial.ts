import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type CreateReservationRequest,
  CreateReservationResponseSchema,
  Reservation_State,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";

/** Answers as if the reservation had been made: all that a handler does when nothing is behind it. */
export function answerReservation(
  request: CreateReservationRequest,
): MessageInitShape<typeof CreateReservationResponseSchema> {
  const now = Date.now();
  return create(CreateReservationResponseSchema, {
    reservation: {
      reservationId: request.reservationId,
      state: Reservation_State.ACTIVE,
      owner: request.owner,
      lines: request.lines,
      createTime: timestampFromMs(now),
      expireTime: timestampFromMs(now + 86_400_000),
    },
  });
}
