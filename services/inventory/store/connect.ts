import { connect, type Sql } from "#libs/db";

/**
 * Statements are planned once a connection and kept, often while a table is still empty. Each of them is
 * meant to go by an index, row by row; these settings see to it that no plan made for an empty table
 * reads a full one from end to end, and spare a batch over 250 items the 20 ms that the planner's choice
 * for a small table took.
 */
export const STORE_SETTINGS = {
  plan_cache_mode: "force_generic_plan",
  // What the services count for themselves (analyzeGrown) decides little with these settings, so 6,000 rows,
  // a fifth of the usual sample, are enough.
  default_statistics_target: "20",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  enable_material: "off",
  enable_memoize: "off",
  jit: "off",
};

/**
 * What a customer waits for takes milliseconds, and the default deadline of a call is 5 s. The shorter this
 * is, the sooner a database that has vanished is noticed: 5 s after it.
 */
const STATEMENT_TIMEOUT_MS = 10_000;
/** A verification reads whole ledgers, until the longest deadline that is accepted. */
export const VERIFICATION_TIMEOUT_MS = 30_000;
/** A migration may rewrite a table, and the archive reads a month of all ledgers. */
export const UPKEEP_TIMEOUT_MS = 3_600_000;

/** Opens a pool of the service; what takes longer than a request may has one of its own. */
export function connectStore(url: string, name: string, statementTimeoutMs = STATEMENT_TIMEOUT_MS): Sql {
  return connect({ url, name, settings: STORE_SETTINGS, statementTimeoutMs });
}
