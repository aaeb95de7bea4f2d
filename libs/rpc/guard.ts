import { setTimeout as pause } from "node:timers/promises";
import {
  BrokenCircuitError,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
} from "cockatiel";
import type { Logger } from "pino";
import { DomainError } from "#libs/reasons";
import type { RetryBudget } from "./budget.ts";

export type GuardOptions = {
  /** Who is called, in the words of a message: `Inventory`. */
  readonly dependency: string;
  readonly log: Logger;
  /** What second tries are taken from, and all that is sent again below them. */
  readonly budget: RetryBudget;
  /** Whether the error says that the dependency does not answer, rather than what it answered. */
  readonly isOutage: (error: unknown) => boolean;
  /**
   * Whether the error says nothing of the dependency, such as the end of its caller's patience. It does not
   * count, but a call that tries whether the dependency is back has not found that.
   */
  readonly saysNothing?: (error: unknown) => boolean;
  /** Told of each change: `closed` (calls go), `open` (calls fail at once), `halfOpen` (one call tries). */
  readonly onState?: (state: GuardState) => void;
};

export type GuardState = "closed" | "open" | "halfOpen";

/** Stands between the calls of this process and a dependency that may be away. */
export type Guard = {
  /** Makes an idempotent call; tries it once more after an outage if the budget allows. */
  run<Result>(call: () => Promise<Result>): Promise<Result>;
  state(): GuardState;
};

/** So many calls in a row that found nobody mean that nobody is there. */
const FAILURES_TO_OPEN = 5;
/** How long calls fail at once before one tries again: doubled at each failed try, up to the maximum. */
const FIRST_OPEN_MS = 250;
const MAX_OPEN_MS = 5_000;
/** A call that failed later than this has used up the time of a second try: its caller's deadline is 5 s. */
const RETRY_WITHIN_MS = 1_000;
/** The pause before a second try; half of it is random, so that many callers part. */
const RETRY_PAUSE_MS = 100;

const states: Readonly<Record<CircuitState, GuardState>> = {
  [CircuitState.Closed]: "closed",
  [CircuitState.Open]: "open",
  [CircuitState.HalfOpen]: "halfOpen",
  [CircuitState.Isolated]: "open",
};

/**
 * Makes a guard: a circuit breaker (Nygard, "Release It!", 2007), and second tries within a budget, so that a
 * dependency that comes back is not met by a storm.
 */
export function createGuard(options: GuardOptions): Guard {
  const { dependency, log, budget, isOutage } = options;
  let breaker = makeBreaker();
  /** By the monotonic clock. */
  let openedAt = 0;

  function makeBreaker(): CircuitBreakerPolicy {
    const made = circuitBreaker(
      handleWhen((error) => isOutage(error) || (isTrying() && options.saysNothing?.(error) === true)),
      {
        breaker: new ConsecutiveBreaker(FAILURES_TO_OPEN),
        halfOpenAfter: new ExponentialBackoff({ initialDelay: FIRST_OPEN_MS, maxDelay: MAX_OPEN_MS }),
      },
    );
    made.onStateChange(tellState);
    return made;
  }

  function isTrying(): boolean {
    return breaker.state === CircuitState.HalfOpen;
  }

  function tellState(state: CircuitState): void {
    if (state === CircuitState.Open) openedAt = performance.now();
    log.warn({ dependency, circuit: states[state] }, "the circuit changed its state");
    options.onState?.(states[state]);
  }

  async function run<Result>(call: () => Promise<Result>): Promise<Result> {
    const startedAt = performance.now();
    budget.earn();
    try {
      return await attempt(call);
    } catch (error) {
      const inTime = performance.now() - startedAt < RETRY_WITHIN_MS;
      if (!isOutage(error) || !inTime || guardedState() !== "closed" || !budget.spend()) throw error;
    }
    await pause(RETRY_PAUSE_MS * (0.5 + Math.random() / 2));
    return await attempt(call);
  }

  async function attempt<Result>(call: () => Promise<Result>): Promise<Result> {
    try {
      return await breaker.execute(call);
    } catch (error) {
      if (!(error instanceof BrokenCircuitError)) throw error;
      if (performance.now() - openedAt <= MAX_OPEN_MS) throw unavailable(error);
    }
    // The library's clock is the one that people set: set back, it would keep the circuit open for as long.
    breaker = makeBreaker();
    tellState(breaker.state);
    return await breaker.execute(call);
  }

  function guardedState(): GuardState {
    return states[breaker.state];
  }

  function unavailable(cause: unknown): DomainError {
    return new DomainError(
      "DEPENDENCY_UNAVAILABLE",
      `${dependency} does not answer: send the same request, with the same request_id, again in a moment`,
      { metadata: { dependency: dependency.toLowerCase() }, retryAfterMs: FIRST_OPEN_MS },
      { cause },
    );
  }

  return { run, state: guardedState };
}
