/** Where a page begins, from the parts of its token. */
import type { MovementKey } from "../store/movements.ts";
import type { ReservationKey } from "../store/reservations.ts";
import type { HolderKey } from "../store/stock.ts";

type Parts = readonly string[] | undefined;

/** The movement that a page of movements follows. */
export function movementKeyOf(parts: Parts): MovementKey | undefined {
  if (!parts) return undefined;
  const [createTime, locationId = "", version] = parts;
  return { createTime: Number(createTime), locationId, version: Number(version) };
}

/** The reservation that a page of reservations follows. */
export function reservationKeyOf(parts: Parts): ReservationKey | undefined {
  if (!parts) return undefined;
  const [createTime, reservationId = ""] = parts;
  return { createTime: Number(createTime), reservationId };
}

/** The holder that a page of holders follows. */
export function holderKeyOf(parts: Parts): HolderKey | undefined {
  if (!parts) return undefined;
  const [locationId = "", reservationId = ""] = parts;
  return { locationId, reservationId };
}
