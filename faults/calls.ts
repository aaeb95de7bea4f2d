import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { isRetriable } from "../demo/patience.ts";

/** How a call ended: with an answer, with a refusal that stands, or nobody knows. */
export type Ending<Answer> =
  | { readonly kind: "answered"; readonly answer: Answer }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unknown" };

/** What a record of calls counts. */
export type Tally = {
  calls: number;
  /** Calls that failed, by code and reason; most of them were sent again. */
  readonly failures: Map<string, number>;
  /** What the first one of each code and reason said. */
  readonly firstTexts: Map<string, string>;
  /** The longest time from the first try of a call to its end. */
  longestCallMs: number;
  /** The longest time in which no call at all was answered. */
  longestSilenceMs: number;
  lastAnswerAtMs: number;
};

const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 1_000;

/** An empty record. */
export function createTally(): Tally {
  return {
    calls: 0,
    failures: new Map(),
    firstTexts: new Map(),
    longestCallMs: 0,
    longestSilenceMs: 0,
    lastAnswerAtMs: performance.now(),
  };
}

/**
 * Makes a call as a good client does: what may be sent again is, under its request_id and with growing
 * pauses, until there is an answer, a refusal that stands, or the time of patience is over.
 */
export async function callPatiently<Answer>(
  tally: Tally,
  patienceMs: number,
  call: () => Promise<Answer>,
): Promise<Ending<Answer>> {
  const startedAt = performance.now();
  for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
    tally.calls += 1;
    try {
      const answer = await call();
      noteAnswer(tally, startedAt);
      return { kind: "answered", answer };
    } catch (error) {
      const failure = ConnectError.from(error);
      const reason = reasonOf(failure);
      // A call that a part on the way has cancelled may have taken effect or not.
      if (!isRetriable(failure) && failure.code !== Code.Canceled) {
        noteAnswer(tally, startedAt);
        return { kind: "refused", reason: reason || `${Code[failure.code]} ${failure.rawMessage}` };
      }
      noteFailure(tally, failure);
      if (performance.now() - startedAt > patienceMs) return { kind: "unknown" };
      // Those that failed together must not come back together.
      await pause(pauseMs * (0.5 + Math.random()));
    }
  }
}

function noteAnswer(tally: Tally, startedAt: number): void {
  const now = performance.now();
  tally.longestCallMs = Math.max(tally.longestCallMs, now - startedAt);
  tally.longestSilenceMs = Math.max(tally.longestSilenceMs, now - tally.lastAnswerAtMs);
  tally.lastAnswerAtMs = now;
}

/** Counts a failed call by its code and reason, and keeps what the first of them said. */
export function noteFailure(tally: Tally, error: unknown): void {
  const failure = ConnectError.from(error);
  const name = [Code[failure.code], reasonOf(failure)].filter(Boolean).join(" ");
  tally.failures.set(name, (tally.failures.get(name) ?? 0) + 1);
  if (!tally.firstTexts.has(name)) tally.firstTexts.set(name, failure.rawMessage);
}

function reasonOf(failure: ConnectError): string {
  return failure.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
}
