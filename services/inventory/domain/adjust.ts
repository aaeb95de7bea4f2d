/** Sets on_hand right: receipts, losses, counts. All changes or none. */
import { DomainError, invalidField } from "#libs/reasons";
import { type Book, move } from "./book.ts";
import type { AdjustCall, StockChange, StockResult } from "./calls.ts";
import { MAX_ON_HAND } from "./limits.ts";
import { type Absence, itemArchived, itemNotFound, type Level, locationNotFound, placeKey } from "./stock.ts";

/** Adjusts for one call, or throws why not. The movements are in the order of the changes. */
export function adjust(book: Book, call: AdjustCall): StockResult {
  const seen = new Set<string>();
  for (const [index, change] of call.changes.entries()) {
    const key = placeKey(change);
    if (seen.has(key))
      throw invalidField(`changes[${index}]`, "names the same sku and location as one before it");
    seen.add(key);
    refuseChange(book.levels.get(key), change, `changes[${index}]`);
  }
  const movements = call.changes.map(({ sku, locationId, delta }) =>
    move(
      book,
      { sku, locationId },
      {
        type: "ADJUST",
        onHandDelta: delta,
        reservedDelta: 0,
        cause: call.adjustmentId,
        reason: call.reason,
        reference: call.reference,
      },
    ),
  );
  return { kind: "adjustment", movements };
}

function refuseChange(place: Level | Absence | undefined, change: StockChange, field: string): void {
  const { sku, locationId, delta, expectedOnHand } = change;
  if (place === undefined) throw new Error(`${placeKey(change)} was not read`);
  if ("absent" in place) {
    if (place.absent === "ITEM") throw itemNotFound(sku, `${field}.sku`);
    if (place.absent === "LOCATION") throw locationNotFound(locationId, `${field}.location_id`);
    throw new Error(`the level of ${placeKey(change)} should have been made`);
  }
  const { onHand, reserved } = place;
  const metadata = { sku, location_id: locationId, on_hand: String(onHand), reserved: String(reserved) };
  if (expectedOnHand !== undefined && expectedOnHand !== onHand) {
    throw new DomainError(
      "STALE_QUANTITY",
      `${sku} at ${locationId} has ${onHand} on hand, not ${expectedOnHand}: read the stock again`,
      {
        metadata,
        fields: [{ field: `${field}.expected_on_hand`, description: `is not what is there (${onHand})` }],
      },
    );
  }
  if (delta > 0 && place.archived) throw itemArchived(sku, `${field}.sku`);
  if (onHand + delta > MAX_ON_HAND) {
    throw invalidField(
      `${field}.delta`,
      `would bring on_hand to ${onHand + delta}; the most is ${MAX_ON_HAND}`,
    );
  }
  if (onHand + delta < reserved) {
    throw new DomainError(
      "STOCK_RESERVED",
      `${sku} at ${locationId} has ${onHand} on hand and ${reserved} reserved: ` +
        `at most ${onHand - reserved} can be taken away`,
      {
        metadata,
        fields: [{ field: `${field}.delta`, description: `must be at least ${reserved - onHand}` }],
      },
    );
  }
}
