/** The counters of one (sku, location), and the ledger's row for each change of them. */
import { DomainError } from "#libs/reasons";

/** Where units of an item lie, as (sku, location). */
export type Place = { readonly sku: string; readonly locationId: string };

/** The counters of a place. `version` counts its movements; `archived` and `reorderPoint` are the item's. */
export type Level = Place & {
  readonly onHand: number;
  readonly reserved: number;
  readonly version: number;
  readonly archived: boolean;
  readonly reorderPoint: number;
  /** When it last changed, epoch milliseconds. */
  readonly updateTime: number;
};

/** Why a place has no counters: no such item, no such location, or nothing was ever there. */
export type Absence = {
  readonly absent: "ITEM" | "LOCATION" | "LEVEL";
  readonly archived: boolean;
};

export type MovementType = "ADJUST" | "RESERVE" | "RELEASE" | "COMMIT" | "EXPIRE";

/** One row of the ledger; times are epoch milliseconds. */
export type Movement = Place & {
  readonly version: number;
  readonly type: MovementType;
  readonly onHandDelta: number;
  readonly reservedDelta: number;
  readonly onHandAfter: number;
  readonly reservedAfter: number;
  /** The reservation's id, or the adjustment's. */
  readonly cause: string;
  readonly reason: string;
  readonly reference: string;
  readonly createTime: number;
};

/** What changes a level: the deltas, why, and when. */
export type Change = Pick<Movement, "type" | "onHandDelta" | "reservedDelta" | "cause" | "createTime"> & {
  readonly reason?: string;
  readonly reference?: string;
};

/** Units that a new reservation may take. */
export function availableOf(level: Pick<Level, "onHand" | "reserved">): number {
  return level.onHand - level.reserved;
}

/** The name of a place in a map; neither part can have a slash in it. */
export function placeKey(place: Place): string {
  return `${place.sku}/${place.locationId}`;
}

/** Orders places as every lock is taken: by sku, then location, byte by byte as `collate "C"` does. */
export function comparePlaces(left: Place, right: Place): number {
  if (left.sku !== right.sku) return left.sku < right.sku ? -1 : 1;
  if (left.locationId === right.locationId) return 0;
  return left.locationId < right.locationId ? -1 : 1;
}

/**
 * The level after a change, and the ledger's row of it. Throws if 0 <= reserved <= on_hand would not hold.
 */
export function moveStock(level: Level, change: Change): { level: Level; movement: Movement } {
  const onHand = level.onHand + change.onHandDelta;
  const reserved = level.reserved + change.reservedDelta;
  if (reserved < 0 || reserved > onHand) {
    throw new Error(`${placeKey(level)} would have ${reserved} reserved of ${onHand} on hand`);
  }
  // Within a chain times never run backwards, whatever the clock does.
  const createTime = Math.max(change.createTime, level.updateTime);
  const after: Level = { ...level, onHand, reserved, version: level.version + 1, updateTime: createTime };
  const movement: Movement = {
    sku: level.sku,
    locationId: level.locationId,
    version: after.version,
    type: change.type,
    onHandDelta: change.onHandDelta,
    reservedDelta: change.reservedDelta,
    onHandAfter: onHand,
    reservedAfter: reserved,
    cause: change.cause,
    reason: change.reason ?? "",
    reference: change.reference ?? "",
    createTime,
  };
  return { level: after, movement };
}

/**
 * Whether the available units crossed the item's reorder point, and in which direction. A point of 0 is
 * none.
 */
export function crossingOf(before: Level, after: Level): "low" | "replenished" | undefined {
  if (after.reorderPoint === 0) return undefined;
  const wasLow = availableOf(before) <= before.reorderPoint;
  const isLow = availableOf(after) <= after.reorderPoint;
  if (wasLow === isLow) return undefined;
  return isLow ? "low" : "replenished";
}

/** Refuses what needs an item that is not there. */
export function itemNotFound(sku: string, field?: string): DomainError {
  return new DomainError("ITEM_NOT_FOUND", `there is no item ${sku}: create it first`, {
    metadata: { sku },
    ...(field === undefined ? {} : { fields: [{ field, description: "names no item" }] }),
  });
}

/** Refuses what needs a location that is not there. */
export function locationNotFound(locationId: string, field?: string): DomainError {
  return new DomainError("LOCATION_NOT_FOUND", `there is no location ${locationId}: create it first`, {
    metadata: { location_id: locationId },
    ...(field === undefined ? {} : { fields: [{ field, description: "names no location" }] }),
  });
}

/** Refuses what is not done with an archived item. */
export function itemArchived(sku: string, field?: string): DomainError {
  return new DomainError(
    "ITEM_ARCHIVED",
    `the item ${sku} is archived: nothing new can be reserved or received`,
    {
      metadata: { sku },
      ...(field === undefined ? {} : { fields: [{ field, description: "names an archived item" }] }),
    },
  );
}
