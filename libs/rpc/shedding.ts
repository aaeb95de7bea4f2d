import type { RpcMethod } from "./call.ts";
import { type Failure, failureOf } from "./failure.ts";

/** Lets the calls of one method in, or not. */
export type Gate = {
  /** Whether one more call would be let in. */
  isOpen(): boolean;
  /** Whether one more call is let in; if so, `leave` is owed. */
  enter(): boolean;
  /** Told how long the call was under way. */
  leave(tookMs: number): void;
};

export type GateLimits = {
  /** Most calls of a method under way. */
  readonly calls: number;
  /** So many may be under way however slow the answers are. */
  readonly callsAlways: number;
  /** Answers that took longer mean that more calls wait than their callers will. */
  readonly slowMs: number;
};

/**
 * As many as wait for their batch. A quarter of them are several batches, which fill the database and are
 * enough for a crowd that comes at once. When they take longer than a person notices, more of them would make
 * nothing faster: they only fill the memory, and those that are let in wait for longer.
 */
const STANDARD: GateLimits = { calls: 4_096, callsAlways: 1_024, slowMs: 300 };
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
export function createGates(limits: GateLimits = STANDARD): (method: RpcMethod) => Gate {
  const gates = new Map<RpcMethod, Gate>();
  return (method) => {
    let gate = gates.get(method);
    if (!gate) {
      gate = createGate(limits);
      gates.set(method, gate);
    }
    return gate;
  };
}

function createGate({ calls, callsAlways, slowMs }: GateLimits): Gate {
  let underWay = 0;
  let lastTookMs = 0;
  const isOpen = () => underWay < calls && (underWay < callsAlways || lastTookMs <= slowMs);
  return {
    isOpen,
    enter: () => {
      if (!isOpen()) return false;
      underWay += 1;
      return true;
    },
    leave: (tookMs) => {
      underWay -= 1;
      lastTookMs = tookMs;
    },
  };
}
