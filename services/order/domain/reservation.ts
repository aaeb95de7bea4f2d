/** What Inventory says of an order's stock, and what the order makes of it. */
import { codeOfReason, DomainError, type Reason, type Shortage, unreachable } from "#libs/reasons";
import { abandonment, type Rejection, shortageOf } from "./order.ts";

/** Why Inventory refused an order. */
export type Refusal = {
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly shortages: readonly Shortage[];
  /** The field of the order to blame, such as `lines[2].sku`; empty if there is none. */
  readonly field: string;
};

/** What became of an order's reservation: made (or made before), released before it came, or refused. */
export type Reserved =
  | { readonly state: "RESERVED" }
  | { readonly state: "RELEASED" }
  | {
      readonly state: "REFUSED";
      readonly refusal: Refusal;
      /** Whether Inventory was asked more than once: an earlier try may still be at work, and succeed. */
      readonly repeated?: boolean;
    };

/** What is to become of a RESERVING order. */
export type Verdict =
  /** It has its stock. */
  | { readonly kind: "confirm" }
  /** It stays, without stock. */
  | {
      readonly kind: "reject";
      readonly rejection: Rejection;
      /** Whether stock may be reserved all the same, so that it has to be released by the order's id. */
      readonly releases: boolean;
    }
  /** Its reservation was released before it was made: it had been given up. */
  | { readonly kind: "abandon" }
  /** It was asked for wrongly or at a bad moment, and nothing of it stays. */
  | { readonly kind: "takeBack"; readonly error: DomainError };

/**
 * Decides what becomes of an order by what Inventory said; throws if Inventory does not know what became of
 * its stock.
 */
export function verdictOf(orderId: string, reserved: Reserved): Verdict {
  switch (reserved.state) {
    case "RESERVED":
      return { kind: "confirm" };
    case "RELEASED":
      return { kind: "abandon" };
    case "REFUSED":
      return verdictOfRefusal(orderId, reserved.refusal, reserved.repeated ?? false);
    default:
      return unreachable(reserved);
  }
}

function verdictOfRefusal(orderId: string, refusal: Refusal, repeated: boolean): Verdict {
  const { reason, message, metadata, shortages } = refusal;
  const fields = refusal.field === "" ? [] : [{ field: refusal.field, description: message }];
  switch (reason) {
    case "INSUFFICIENT_STOCK":
      return { kind: "reject", rejection: shortageOf(orderId, shortages), releases: repeated };
    case "ITEM_ARCHIVED":
      return {
        kind: "reject",
        rejection: { reason, message, metadata, fields, shortages },
        releases: repeated,
      };
    case "RESERVATION_EXISTS":
      return { kind: "takeBack", error: orderIdTaken(orderId) };
    default: {
      const known = isReason(reason) ? reason : "INTERNAL_ERROR";
      const error = new DomainError(known, message, { metadata, fields, shortages });
      if (isUndecided(error)) throw error;
      // An order that is gone could not give back what an earlier try may yet reserve: it stays.
      if (repeated) throw undecided(error);
      return { kind: "takeBack", error };
    }
  }
}

function undecided(cause: DomainError): DomainError {
  return new DomainError(
    "DEPENDENCY_UNAVAILABLE",
    "Inventory did not answer at first: send the same request, with the same request_id, again in a moment",
    { metadata: { dependency: "inventory" } },
    { cause },
  );
}

/**
 * Why a late payment is given back by what Inventory said, or undefined if the stock is reserved again;
 * throws if it may be another time.
 */
export function refundCauseOf(reserved: Reserved): string | undefined {
  switch (reserved.state) {
    case "RESERVED":
      return undefined;
    // The recovery was faster and gave the attempt up.
    case "RELEASED":
      return abandonment.reason;
    case "REFUSED": {
      const { reason, message, metadata } = reserved.refusal;
      const known = isReason(reason) ? reason : "INTERNAL_ERROR";
      const error = new DomainError(known, message, { metadata });
      if (isUndecided(error) || isOfTheMoment(error)) throw error;
      return known;
    }
    default:
      return unreachable(reserved);
  }
}

/**
 * What becomes of an order whose call failed as a whole; throws the failure if nobody knows what became of
 * its stock.
 */
export function verdictOfFailure(error: unknown): Verdict {
  if (error instanceof DomainError && !isUndecided(error)) return { kind: "takeBack", error };
  throw error;
}

/** The refusal of an id that another order, or a reservation, has. */
export function orderIdTaken(orderId: string): DomainError {
  const description = "is taken by another request: leave it empty, or send another UUID";
  return new DomainError("ORDER_EXISTS", `order_id: ${description}`, {
    metadata: { order_id: orderId },
    fields: [{ field: "order_id", description }],
  });
}

// The call may have taken effect or may take it yet, so the order stays for a repetition or for the recovery.
function isUndecided(error: DomainError): boolean {
  const code = codeOfReason[error.reason];
  return (
    code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED" || code === "CANCELLED" || code === "INTERNAL"
  );
}

/** Whether the error says that nothing was reserved and the same call may succeed in a moment. */
export function isOfTheMoment(error: DomainError): boolean {
  const code = codeOfReason[error.reason];
  return code === "ABORTED" || code === "RESOURCE_EXHAUSTED";
}

function isReason(name: string): name is Reason {
  return Object.hasOwn(codeOfReason, name);
}
