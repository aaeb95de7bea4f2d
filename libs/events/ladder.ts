/** A fixed delay: one queue of the broker whose messages all live equally long. */
export type Rung = { readonly name: string; readonly delayMs: number };

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * The delay ladder, longest first. A queue's TTL can't be changed once it exists, so a rung is never edited:
 * another delay is another rung. Thirty days are walked in about fifty hops.
 */
export const rungs = [
  { name: "24h", delayMs: 24 * HOUR_MS },
  { name: "6h", delayMs: 6 * HOUR_MS },
  { name: "1h", delayMs: HOUR_MS },
  { name: "15m", delayMs: 15 * MINUTE_MS },
  { name: "5m", delayMs: 5 * MINUTE_MS },
  { name: "1m", delayMs: MINUTE_MS },
  { name: "15s", delayMs: 15 * SECOND_MS },
  { name: "5s", delayMs: 5 * SECOND_MS },
  { name: "1s", delayMs: SECOND_MS },
] as const satisfies readonly Rung[];

export type RungName = (typeof rungs)[number]["name"];

/**
 * A message leaves its rung up to about 0.24 s after its TTL (2,000 messages at once, RabbitMQ 3.10): a rung
 * fits only if that much is left over, so that the walk itself never makes a message late. What is left is
 * waited in the process.
 */
export const RUNG_SLACK_MS = 250;

/**
 * The longest rung after which a message due in `remainingMs` is still early; none when the rest is to be
 * waited out.
 */
export function rungFor(remainingMs: number): Rung | undefined {
  return rungs.find((rung) => rung.delayMs + RUNG_SLACK_MS <= remainingMs);
}

const retryPath: readonly RungName[] = ["1s", "1s", "5s", "5s", "15s", "15s", "1m", "1m", "5m", "5m"];

/** How often a message is delivered again after failures of its own before it is put aside. */
export const RETRY_LIMIT = retryPath.length;

/**
 * Where a message waits while what its handler needs is away: that is not the message's fault, so it isn't
 * counted.
 */
export const outageRung: Rung = rungNamed("5s");

/** Where a message waits before its retry number `retry` (from 1); none when the retries are used up. */
export function retryRungFor(retry: number): Rung | undefined {
  const name = retryPath[retry - 1];
  return name === undefined ? undefined : rungNamed(name);
}

function rungNamed(name: RungName): Rung {
  const found = rungs.find((rung) => rung.name === name);
  if (!found) throw new Error(`the ladder has no rung ${name}`);
  return found;
}
