/**
 * The one table from an error's reason to its code, and the error that carries a reason through the code.
 * It is pure, so that `domain/` may use it.
 */
export const codeOfReason = {
  INVALID_FIELD: "INVALID_ARGUMENT",
  REQUEST_ID_REUSED: "INVALID_ARGUMENT",
  ITEM_NOT_FOUND: "NOT_FOUND",
  LOCATION_NOT_FOUND: "NOT_FOUND",
  ORDER_NOT_FOUND: "NOT_FOUND",
  RESERVATION_NOT_FOUND: "NOT_FOUND",
  ITEM_EXISTS: "ALREADY_EXISTS",
  LOCATION_EXISTS: "ALREADY_EXISTS",
  ORDER_EXISTS: "ALREADY_EXISTS",
  RESERVATION_EXISTS: "ALREADY_EXISTS",
  INSUFFICIENT_STOCK: "FAILED_PRECONDITION",
  ORDER_SETTLED: "FAILED_PRECONDITION",
  ORDER_CANCELLED: "FAILED_PRECONDITION",
  ORDER_EXPIRED: "FAILED_PRECONDITION",
  ORDER_REJECTED: "FAILED_PRECONDITION",
  RESERVATION_COMMITTED: "FAILED_PRECONDITION",
  RESERVATION_RELEASED: "FAILED_PRECONDITION",
  RESERVATION_EXPIRED: "FAILED_PRECONDITION",
  STOCK_RESERVED: "FAILED_PRECONDITION",
  ITEM_ARCHIVED: "FAILED_PRECONDITION",
  STALE_QUANTITY: "FAILED_PRECONDITION",
  RESERVATION_OWNED_BY_ORDER: "FAILED_PRECONDITION",
  REFUND_NOT_REQUIRED: "FAILED_PRECONDITION",
  CONFLICT: "ABORTED",
  RATE_LIMITED: "RESOURCE_EXHAUSTED",
  OVERLOADED: "RESOURCE_EXHAUSTED",
  TOKEN_MISSING: "UNAUTHENTICATED",
  TOKEN_INVALID: "UNAUTHENTICATED",
  ROLE_REQUIRED: "PERMISSION_DENIED",
  DEPENDENCY_UNAVAILABLE: "UNAVAILABLE",
  DEADLINE_PASSED: "DEADLINE_EXCEEDED",
  CALL_CANCELLED: "CANCELLED",
  INTERNAL_ERROR: "INTERNAL",
} as const;

/** A name of `holdfast.error.v1.Reason`. */
export type Reason = keyof typeof codeOfReason;

/** A name of `google.rpc.Code`. */
export type CodeName = (typeof codeOfReason)[Reason];

/** A field of the request that breaks its rule; `field` is its path, such as `lines[2].quantity`. */
export type FieldViolation = { readonly field: string; readonly description: string };

/** A (sku, location) of which fewer units are available than were asked for. */
export type Shortage = {
  readonly sku: string;
  readonly locationId: string;
  readonly requested: number;
  readonly available: number;
};

/** What a caller is told beside the reason and the message. */
export type ErrorData = {
  /** What a program needs to act: ids, quantities. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** With INVALID_FIELD and wherever a field of the request is to blame. */
  readonly fields?: readonly FieldViolation[];
  /** With INSUFFICIENT_STOCK. */
  readonly shortages?: readonly Shortage[];
  /** How long to wait before the next try. */
  readonly retryAfterMs?: number;
};

/** A refusal that the caller is to see: a reason, a message that a person can act on, and data. */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly reason: Reason;
  readonly data: ErrorData;

  constructor(reason: Reason, message: string, data: ErrorData = {}, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.data = data;
  }
}

/** Refuses a request for one of its fields. */
export function invalidField(field: string, description: string): DomainError {
  return new DomainError("INVALID_FIELD", `${field}: ${description}`, { fields: [{ field, description }] });
}

/** Throws for a case that the types have ruled out. */
export function unreachable(value: never): never {
  throw new Error(`this cannot be: ${JSON.stringify(value)}`);
}
