/** What is stocked, and where it lies. */

import { MAX_INT32 } from "./limits.ts";
import type { Level } from "./stock.ts";

/** Times are epoch milliseconds. */
export type Item = {
  readonly sku: string;
  readonly displayName: string;
  readonly reorderPoint: number;
  readonly state: "ACTIVE" | "ARCHIVED";
  readonly createTime: number;
  readonly updateTime: number;
};

export type Location = {
  readonly locationId: string;
  readonly displayName: string;
  readonly createTime: number;
};

/** The counters of an item, at all locations that ever had stock of it. */
export type Stock = {
  readonly sku: string;
  readonly onHand: number;
  readonly reserved: number;
  readonly available: number;
  readonly levels: readonly Level[];
};

/** The stock of an item from its levels. Totals past the largest int32 are shown as that. */
export function stockOf(sku: string, levels: readonly Level[]): Stock {
  let onHand = 0;
  let reserved = 0;
  for (const level of levels) {
    onHand += level.onHand;
    reserved += level.reserved;
  }
  return {
    sku,
    onHand: Math.min(onHand, MAX_INT32),
    reserved: Math.min(reserved, MAX_INT32),
    available: Math.min(onHand - reserved, MAX_INT32),
    levels,
  };
}
