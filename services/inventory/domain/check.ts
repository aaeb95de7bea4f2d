/** Tells whether lines would fit, without taking anything. */
import { type Line, sumLines } from "./reservation.ts";
import { type Places, refuseStrangers, reservable } from "./reserve.ts";
import { placeKey } from "./stock.ts";

export type CheckedLine = {
  readonly sku: string;
  readonly locationId: string;
  readonly requested: number;
  readonly available: number;
  readonly sufficient: boolean;
};

/** Judges each (sku, location) of the lines. Throws for an item or a location that is not there. */
export function checkLines(places: Places, lines: readonly Line[]): CheckedLine[] {
  refuseStrangers(places, lines);
  return sumLines(lines).map(({ quantity, ...place }) => {
    const available = reservable(places.get(placeKey(place)));
    return { ...place, requested: quantity, available, sufficient: quantity <= available };
  });
}
