import type { RpcMethod } from "./call.ts";
import { type Failure, failureOf } from "./failure.ts";

/** Lets the calls of one method in, or not. */
export type Gate = {
  /** Whether one more call would be let in; if not, it counts as refused. */
  letsIn(): boolean;
  /** Whether one more call is let in; if so, `leave` is owed, and if not, it counts as refused. */
  enter(): boolean;
  /** Told how long the call was under way. */
  leave(tookMs: number): void;
};

export type GateLimits = {
  /** Most calls of a method under way. */
  readonly calls: number;
  /** For a crowd that comes at once: so many however slow the answers are, and more while they are quick. */
  readonly crowd: { readonly calls: number; readonly slowMs: number };
  /** Most calls under way while more come than can be answered, however quick the answers are. */
  readonly overloadCalls: number;
  /** For so long calls have been refused when it is an overload, and for so long none has when it is over. */
  readonly overloadMs: number;
};

/**
 * As many as wait for their batch. A quarter of them are several batches, which fill the database and are
 * enough for a crowd that comes at once. When they take longer than a person notices, more of them would make
 * nothing faster: they only fill the memory, and those that are let in wait for longer. When more go on
 * coming, two batches that take turns keep the database as busy, and all else is waiting too: answers then
 * come twice as fast. Whether the last one was quick is not asked then: each quick one would let in a
 * thousand, whose own answers are slow.
 */
const STANDARD: GateLimits = {
  calls: 4_096,
  crowd: { calls: 1_024, slowMs: 300 },
  overloadCalls: 512,
  overloadMs: 1_000,
};
/** By then a part of those that wait is answered. */
const RETRY_AFTER_MS = 250;

/** The answer to a call that is not let in: one for all, so that a refusal costs next to nothing. */
export const shedFailure: Failure = failureOf(
  "OVERLOADED",
  "more calls than this instance can take: come back in a moment",
  { retryAfterMs: RETRY_AFTER_MS },
);

/**
 * Makes the gates of a server. A call is refused before its request is even read when too many of its method
 * are under way, or when many are and the last answer was slow: those that are let in are then answered in
 * time, where else all of them would wait until their callers have gone (as CoDel keeps the queues of routers
 * short: Nichols and Jacobson, "Controlling Queue Delay", 2012). Other methods are not touched.
 */
export function createGates(
  limits: GateLimits = STANDARD,
  now: () => number = () => performance.now(),
): (method: RpcMethod) => Gate {
  const gates = new Map<RpcMethod, Gate>();
  return (method) => {
    let gate = gates.get(method);
    if (!gate) {
      gate = createGate(limits, now);
      gates.set(method, gate);
    }
    return gate;
  };
}

function createGate({ calls, crowd, overloadCalls, overloadMs }: GateLimits, now: () => number): Gate {
  let underWay = 0;
  let lastTookMs = 0;
  let refusingSince = Number.NEGATIVE_INFINITY;
  let refusedAt = Number.NEGATIVE_INFINITY;

  function letsIn(): boolean {
    // The clock is asked only where it matters.
    if (underWay < overloadCalls) return true;
    const at = now();
    if (at - refusedAt > overloadMs) refusingSince = at;
    const isOverload = at - refusingSince > overloadMs;
    const hasRoom = underWay < crowd.calls || (underWay < calls && lastTookMs <= crowd.slowMs);
    if (hasRoom && !isOverload) return true;
    refusedAt = at;
    return false;
  }

  return {
    letsIn,
    enter: () => {
      if (!letsIn()) return false;
      underWay += 1;
      return true;
    },
    leave: (tookMs) => {
      underWay -= 1;
      lastTookMs = tookMs;
    },
  };
}
