/** The location of a line that names none; every tenant has it. */
export const DEFAULT_LOCATION = "main";

/** The limits of the service: each has a unit and a reason. */
export const limits = {
  /**
   * How long stock is kept for payment if the caller does not say: a day, so that a bank transfer can arrive.
   */
  defaultTtlMs: 24 * 3_600_000,
  /**
   * Calls of one batch: past it a larger batch saves next to nothing, and a batch stays within a few
   * milliseconds.
   */
  batchCalls: 256,
  /**
   * Lines of orders that go to Inventory in one call: with the longest names 140 bytes each, so that with 256
   * orders around them they stay under the 1 MiB of a message.
   */
  linesACall: 6_000,
  /** Calls answered in one turn of the event loop: some 2 ms of work. */
  answersATurn: 32,
  /**
   * Placed orders answered in one turn: their callers come back together, and with half as many they filled
   * smaller batches, so that 7 % fewer were placed.
   */
  placedATurn: 64,
  /** Calls of a kind that wait or are under way in a process; the next is refused at once (OVERLOADED). */
  waitingCalls: 4_096,
  /**
   * How often a create begins anew because a repetition of itself took the order back under its feet, or
   * because an id of its batch was taken in the very moment.
   */
  placingRounds: 3,
  /**
   * The longest wait for Inventory's answer: shorter than the default deadline of a call (5 s), so that it is
   * told.
   */
  reserveTimeoutMs: 4_000,
  /**
   * Orders expired or abandoned in one transaction. Twice as many keep new orders waiting for longer, fewer
   * cost the database more commits for the same orders.
   */
  expiryBatch: 64,
  /**
   * How long expiry rests between two batches, in times of the last one: what follows from a batch at the
   * broker and at Inventory is more work than the batch itself, and new orders wait beside it.
   */
  expiryRest: 1.75,
  /**
   * The longest such rest: where batches are slow callers wait anyway, and the stock is to come back in time.
   */
  expiryRestMaxMs: 20,
  /**
   * The least time from one batch to the next, however quick it was: 2,000 orders a second bring the stock of
   * 100,000 back within a minute, and more would only make new orders wait.
   */
  expiryIntervalMs: 32,
  /** Pause between two looks for orders whose nudge did not come. */
  sweepIntervalMs: 2_000,
  /**
   * How long an order must be overdue before it is swept: its nudge comes up to 1 s after its time and is
   * handled first.
   */
  sweepGraceMs: 2_000,
  /** A RESERVING order of this age is given up: no create waits that long (the longest deadline is 30 s). */
  recoveryAfterMs: 30_000,
  /** Pause between two looks for orders to give up. */
  recoveryIntervalMs: 2_000,
  /** How long a request_id is remembered. */
  requestsKeptMs: 7 * 24 * 3_600_000,
  /** How long a nudge's row outlives its second, for orders that are placed at the very moment. */
  nudgesKeptMs: 3_600_000,
  /** Pause between two tidyings of what is kept for a time. */
  tidyIntervalMs: 60_000,
  /** Rows deleted in one transaction. */
  tidyBatch: 5_000,
  /** Pause between two looks for tables that have outgrown their statistics: young ones double in seconds. */
  analyzeIntervalMs: 1_000,
  /**
   * Seconds of which a process remembers that their nudge is there: more than 24 h of one tenant, about 10
   * MB.
   */
  knownNudges: 100_000,
} as const;
