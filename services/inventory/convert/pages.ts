/** Where a page begins, from the parts of its token. Whoever made a token up is told so. */
import { invalidField } from "#libs/reasons";
import type { MovementKey } from "../store/movements.ts";
import type { ReservationKey } from "../store/reservations.ts";
import type { HolderKey } from "../store/stock.ts";

type Parts = readonly string[] | undefined;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Up to 15 digits are exact as a number. */
const WHOLE = /^\d{1,15}$/;
/** The end of the year 9999: a later time is written in a way that the database can't read. */
const LAST_TIME = 253_402_300_799_999;

/** The movement that a page of movements follows. */
export function movementKeyOf(parts: Parts): MovementKey | undefined {
  if (!parts) return undefined;
  const [createTime = "", locationId = "", version = ""] = parts;
  if (!isTime(createTime) || !WHOLE.test(version)) throw madeUp();
  return { createTime: Number(createTime), locationId, version: Number(version) };
}

/** The reservation that a page of reservations follows. */
export function reservationKeyOf(parts: Parts): ReservationKey | undefined {
  if (!parts) return undefined;
  const [createTime = "", reservationId = ""] = parts;
  if (!isTime(createTime) || !UUID.test(reservationId)) throw madeUp();
  return { createTime: Number(createTime), reservationId };
}

/** The holder that a page of holders follows. */
export function holderKeyOf(parts: Parts): HolderKey | undefined {
  if (!parts) return undefined;
  const [locationId = "", reservationId = ""] = parts;
  if (!UUID.test(reservationId)) throw madeUp();
  return { locationId, reservationId };
}

function isTime(text: string): boolean {
  return WHOLE.test(text) && Number(text) <= LAST_TIME;
}

function madeUp() {
  return invalidField("page_token", "is not a token that this list gave: start again without it");
}
