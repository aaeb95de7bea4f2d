/** From the domain to messages of the contract. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DomainError } from "#libs/reasons";
import {
  Item_State,
  Movement_Type,
  Reservation_State,
  StockDifference_Type,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import type { Item, Location, Stock } from "../domain/item.ts";
import type { Reservation, ReservationState } from "../domain/reservation.ts";
import { availableOf, type Level, type Movement } from "../domain/stock.ts";
import type { Holder } from "../store/stock.ts";
import type { Difference } from "../store/verify.ts";

/** An item of the contract. */
export function itemMessage(item: Item) {
  return {
    sku: item.sku,
    displayName: item.displayName,
    reorderPoint: item.reorderPoint,
    state: Item_State[item.state],
    createTime: timestampFromMs(item.createTime),
    updateTime: timestampFromMs(item.updateTime),
  };
}

/** The state of an item that a filter names; undefined for all. */
export function itemStateOf(state: Item_State): Item["state"] | undefined {
  switch (state) {
    case Item_State.STATE_UNSPECIFIED:
      return undefined;
    case Item_State.ACTIVE:
      return "ACTIVE";
    case Item_State.ARCHIVED:
      return "ARCHIVED";
    default:
      throw new Error(`the contract has no state ${state}`);
  }
}

/** A location of the contract. */
export function locationMessage(location: Location) {
  return {
    locationId: location.locationId,
    displayName: location.displayName,
    createTime: timestampFromMs(location.createTime),
  };
}

/** A stock of the contract. */
export function stockMessage(stock: Stock) {
  return { ...stock, levels: stock.levels.map(levelMessage) };
}

/** A movement of the contract. */
export function movementMessage(movement: Movement) {
  return {
    ...movement,
    version: BigInt(movement.version),
    type: Movement_Type[movement.type],
    createTime: timestampFromMs(movement.createTime),
  };
}

/** A reservation of the contract. */
export function reservationMessage(reservation: Reservation) {
  const { reservationId, owner, lines, expireTime, endTime } = reservation;
  return {
    reservationId,
    state: reservationState(reservation.state),
    owner,
    lines: lines.map(({ sku, locationId, quantity }) => ({ sku, locationId, quantity })),
    createTime: timestampFromMs(reservation.createTime),
    ...(expireTime === undefined ? {} : { expireTime: timestampFromMs(expireTime) }),
    ...(endTime === undefined ? {} : { endTime: timestampFromMs(endTime) }),
  };
}

/** A reservation's state in the contract. */
export function reservationState(state: ReservationState): Reservation_State {
  return Reservation_State[state];
}

/** The state of a reservation that a filter names; undefined for all. */
export function reservationStateOf(state: Reservation_State): ReservationState | undefined {
  switch (state) {
    case Reservation_State.STATE_UNSPECIFIED:
      return undefined;
    case Reservation_State.ACTIVE:
      return "ACTIVE";
    case Reservation_State.COMMITTED:
      return "COMMITTED";
    case Reservation_State.RELEASED:
      return "RELEASED";
    case Reservation_State.EXPIRED:
      return "EXPIRED";
    default:
      throw new Error(`the contract has no state ${state}`);
  }
}

/** A holder of the contract. */
export function holderMessage(holder: Holder) {
  const { createTime, expireTime, ...named } = holder;
  return {
    ...named,
    createTime: timestampFromMs(createTime),
    ...(expireTime === undefined ? {} : { expireTime: timestampFromMs(expireTime) }),
  };
}

/** A difference of the contract. */
export function differenceMessage(difference: Difference) {
  return {
    ...difference,
    type: StockDifference_Type[difference.type],
    version: BigInt(difference.version),
  };
}

/** Why an order's stock was not reserved; an error that is no refusal is thrown on. */
export function refusalMessage(error: unknown) {
  if (!(error instanceof DomainError)) throw error;
  const { metadata = {}, shortages = [], fields = [] } = error.data;
  return {
    reason: error.reason,
    message: error.message,
    metadata: { ...metadata },
    shortages: shortages.map((shortage) => ({ ...shortage })),
    field: fields[0]?.field ?? "",
  };
}

function levelMessage(level: Level) {
  return {
    locationId: level.locationId,
    onHand: level.onHand,
    reserved: level.reserved,
    available: availableOf(level),
    version: BigInt(level.version),
  };
}
