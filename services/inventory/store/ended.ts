/** Where to look for reservations that have ended: their partitions are by the month in which they did. */
import { CLOCK_SLACK_MS } from "../domain/limits.ts";
import { madeAt } from "../domain/reservation.ts";

/**
 * The time before which none of these reservations can have ended. A UUIDv7 says when it was made, and
 * nothing ends before it is made; its maker's clock was ahead by a day at most, or it would have been
 * refused. For any other id that is the beginning of time. So the id of a new order is looked for in the
 * newest partition only, however many there are.
 */
export function earliestEndOf(reservationIds: readonly string[], nowMs: number): Date {
  let earliest = nowMs;
  for (const id of reservationIds) {
    const made = madeAt(id);
    // A time that is still to come says nothing.
    if (made === undefined || made > nowMs + CLOCK_SLACK_MS) return new Date(0);
    earliest = Math.min(earliest, made);
  }
  return new Date(earliest - CLOCK_SLACK_MS);
}
