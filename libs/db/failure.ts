import postgres from "postgres";
import { DomainError } from "#libs/reasons";

/**
 * What a caller is told when a named constraint refuses a row: the one place where constraints become
 * reasons.
 */
export type ConstraintReasons = Readonly<Record<string, (detail: string) => DomainError>>;

// Connections that never came, broke or were ended by the server, a server that starts, stops, is full or
// only reads.
const unavailable = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "57P01",
  "57P02",
  "57P03",
  "57P05",
  "53000",
  "53100",
  "53200",
  "53300",
  "25006",
  "25P03",
]);

/** Serialization failure and deadlock: the same work may succeed at the next try. */
const conflicts = new Set(["40001", "40P01"]);

const UNIQUE_VIOLATION = "23505";
/** A lock that did not come in time: somebody works on the same rows for long. */
const LOCK_NOT_AVAILABLE = "55P03";
/** A statement that ran into its timeout. */
const QUERY_CANCELED = "57014";

const RETRY_AFTER_MS = 500;

function codeOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return "";
}

/** Whether the database could not be reached or could not work at all: nothing is wrong with the request. */
export function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  return unavailable.has(code) || code.startsWith("08");
}

// The server says these and ends the connection.
const endings = new Set(["57P01", "57P02", "57P03", "57P05", "25P03", "25P04"]);

/** Whether the connection is gone, or will be in a moment: nothing may be sent on it any more. */
export function isConnectionLost(error: unknown): boolean {
  const code = codeOf(error);
  // The server's codes in that list begin with a digit, the driver's and the system's do not.
  return endings.has(code) || code.startsWith("08") || (unavailable.has(code) && !/^\d/.test(code));
}

/** Whether two transactions collided and the same one may be tried again. */
export function isConflict(error: unknown): boolean {
  return conflicts.has(codeOf(error));
}

/** Whether a row was refused because another has its key, by the constraint of this name. */
export function isDuplicate(error: unknown, constraint: string): boolean {
  const refusedBy = error instanceof postgres.PostgresError ? error.constraint_name : undefined;
  return codeOf(error) === UNIQUE_VIOLATION && refusedBy === constraint;
}

/** Turns what the database threw into what a caller may see; other errors are returned as they are. */
export function asDomainError(error: unknown, constraints: ConstraintReasons = {}): unknown {
  if (error instanceof DomainError) return error;
  if (error instanceof postgres.PostgresError && error.constraint_name) {
    const reasonOf = constraints[error.constraint_name];
    if (reasonOf) return reasonOf(error.detail ?? "");
  }
  if (isUnavailable(error)) {
    return new DomainError(
      "DEPENDENCY_UNAVAILABLE",
      "the database does not answer: send the same request again in a moment",
      { metadata: { dependency: "database" }, retryAfterMs: RETRY_AFTER_MS },
      { cause: error },
    );
  }
  const code = codeOf(error);
  if (isConflict(error) || code === LOCK_NOT_AVAILABLE || code === QUERY_CANCELED) {
    return new DomainError(
      "CONFLICT",
      "others work on the same rows: send the same request again in a moment",
      { retryAfterMs: RETRY_AFTER_MS },
      { cause: error },
    );
  }
  return error;
}

/**
 * Whether one call of a batch may be to blame for the error, so that halving the batch finds it: anything
 * but a database that is away or busy.
 */
export function isOneCallsFault(error: unknown): boolean {
  return !(asDomainError(error) instanceof DomainError);
}
