import { connect, type Sql } from "#libs/db";

/**
 * Statements are planned once a connection and the plan is kept, often from a time when the table was empty.
 * Each of them is meant to go by an index, row by row; without these settings one that was planned on an
 * empty table would read a full one from end to end.
 *
 * Statements that change given orders say `state is not distinct from 'PENDING'` where `=` would do: it means
 * the same and no index answers it, so they go by the orders' ids and never by an index of all orders in that
 * state.
 */
const SETTINGS = {
  plan_cache_mode: "force_generic_plan",
  // What the services count for themselves (analyzeGrown) decides little with these settings, so 6,000 rows,
  // a fifth of the usual sample, are enough.
  default_statistics_target: "20",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  jit: "off",
};

/**
 * What a customer waits for takes milliseconds, and the default deadline of a call is 5 s. The shorter this
 * is, the sooner a database that has vanished is noticed: 5 s after it.
 */
const STATEMENT_TIMEOUT_MS = 10_000;
/** A migration may rewrite a table. */
export const UPKEEP_TIMEOUT_MS = 3_600_000;

/** Opens a pool of the service; what takes longer than a request may has one of its own. */
export function connectStore(url: string, name: string, statementTimeoutMs = STATEMENT_TIMEOUT_MS): Sql {
  return connect({ url, name, settings: SETTINGS, statementTimeoutMs });
}
