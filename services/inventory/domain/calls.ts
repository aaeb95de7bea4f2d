/** The calls that change stock, as the book takes them, and what they come to. */
import type { Line, Party, Reservation } from "./reservation.ts";
import type { Movement, Place } from "./stock.ts";

/** What makes a call repeatable: its id, and a digest of all that it asks. */
export type RequestKey = { readonly requestId: string; readonly hash: string };

/** When a new promise ends: a time from now, a moment, or with its order. */
export type Expiry =
  | { readonly kind: "ttl"; readonly ttlMs: number }
  | { readonly kind: "moment"; readonly expireTime: number }
  | { readonly kind: "none" };

export type ReserveCall = {
  readonly kind: "reserve";
  readonly reservationId: string;
  /** Whether the id was made here just now, so that nobody can have used it before. */
  readonly minted: boolean;
  readonly owner: string;
  /** As the caller listed them. */
  readonly lines: readonly Line[];
  readonly expiry: Expiry;
  /** Whether a reservation of this id by the same owner is the answer, and not in the way. */
  readonly idempotentById: boolean;
  readonly validateOnly: boolean;
  /** The owner's reservation that this one comes after: what it still has is released first. */
  readonly replaces?: string;
  readonly request?: RequestKey;
};

export type EndCall = {
  readonly kind: "commit" | "release";
  readonly reservationId: string;
  readonly party: Exclude<Party, "time">;
  /** Of the order that asks: the owner of the reservation. */
  readonly orderId?: string;
  readonly request?: RequestKey;
};

/** What made a reservation expire: the broker's nudge, the sweeper, or somebody who touched it late. */
export type ExpiryTrigger = "nudge" | "sweeper" | "touch";

export type ExpireCall = {
  readonly kind: "expire";
  readonly reservationId: string;
  readonly trigger: ExpiryTrigger;
  readonly request?: undefined;
};

export type ExtendCall = {
  readonly kind: "extend";
  readonly reservationId: string;
  readonly ttlMs: number;
  readonly request?: RequestKey;
};

export type StockChange = Place & { readonly delta: number; readonly expectedOnHand?: number };

export type AdjustCall = {
  readonly kind: "adjust";
  readonly adjustmentId: string;
  readonly changes: readonly StockChange[];
  readonly reason: string;
  readonly reference: string;
  readonly request?: RequestKey;
};

export type StockCall = ReserveCall | EndCall | ExpireCall | ExtendCall | AdjustCall;

/** What a call came to: a reservation as it is now, or the ledger's rows of an adjustment. */
export type StockResult =
  | { readonly kind: "reservation"; readonly reservation: Reservation; readonly changed: boolean }
  | { readonly kind: "adjustment"; readonly movements: readonly Movement[] };

/** What became of one call. */
export type StockOutcome =
  | { readonly ok: true; readonly value: StockResult }
  | { readonly ok: false; readonly error: unknown };

/** What others are told of it. */
export type StockEvent =
  | {
      readonly type: "ReservationExpired";
      readonly reservation: Reservation;
      readonly trigger: ExpiryTrigger;
    }
  | {
      readonly type: "StockRanLow" | "StockReplenished";
      readonly sku: string;
      readonly locationId: string;
      readonly available: number;
      readonly reorderPoint: number;
      readonly version: number;
    };

/** A request that took effect: what it made, or what it was answered. */
export type RequestRecord = RequestKey & {
  readonly resource: string;
  readonly movements?: readonly Movement[];
};
