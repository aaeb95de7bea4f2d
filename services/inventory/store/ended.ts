/** Where to look for reservations that have ended: their partitions are by the month in which they did. */

const CLOCK_SLACK_MS = 86_400_000;
const UUID_VERSION_AT = 14;

/**
 * The time before which none of these reservations can have ended. A UUIDv7 says when it was made, and
 * nothing ends before it is made; its maker's clock is trusted to a day. For any other id that is the
 * beginning of time. So the id of a new order is looked for in the newest partition only, however many
 * there are.
 */
export function earliestEndOf(reservationIds: readonly string[], nowMs: number): Date {
  let earliest = nowMs;
  for (const id of reservationIds) {
    if (id[UUID_VERSION_AT] !== "7") return new Date(0);
    const made = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
    // A time that is still to come says nothing.
    if (made > nowMs + CLOCK_SLACK_MS) return new Date(0);
    earliest = Math.min(earliest, made);
  }
  return new Date(earliest - CLOCK_SLACK_MS);
}
