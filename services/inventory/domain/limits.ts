/** The limits of the service, one place for all: each with its unit and its reason. */

/**
 * Units a level has at most, so that sums over many levels stay far from the end of int64 and a level from
 * int32's.
 */
export const MAX_ON_HAND = 1_000_000_000;

/** The largest int32: totals over locations are shown as this when they are more. */
export const MAX_INT32 = 2_147_483_647;

/** A promise that nobody gave an end lasts as long as a customer may stand at a till. */
export const DEFAULT_TTL_MS = 15 * 60_000;

/** Shorter than this, and it may be over before the answer arrives. */
export const MIN_TTL_MS = 1_000;

/** Longer than this, units should be bought, not promised. */
export const MAX_TTL_MS = 30 * 86_400_000;

/**
 * How far the time in an id may lie ahead, and how far a process's clock may be wrong: whoever has a day's
 * error in it has other troubles.
 */
export const CLOCK_SLACK_MS = 86_400_000;

/** Calls of one batch: more do not make a call cheaper, and the locks would be kept for longer. */
export const MAX_BATCH_CALLS = 256;

/** Calls answered in one turn of the event loop: some 2 ms of work. */
export const ANSWERS_A_TURN = 32;

/**
 * Calls that wait for their batch: about a quarter of a second of work; whoever comes then is told to come
 * back.
 */
export const MAX_WAITING_CALLS = 4_096;

/**
 * Differences told by one VerifyStock: enough to see what is wrong, and an answer stays under the message
 * limit.
 */
export const MAX_DIFFERENCES = 500;

/** Movements that ExplainStock shows. */
export const RECENT_MOVEMENTS = 10;

/** A request is answered again for this long. */
export const REQUESTS_KEPT_DAYS = 7;

/** The location that every tenant has. */
export const DEFAULT_LOCATION = "main";
