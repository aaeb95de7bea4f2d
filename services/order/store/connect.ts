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
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  jit: "off",
};

/** Opens the pool of one instance of the service. */
export function connectStore(url: string, name: string): Sql {
  return connect({ url, name, settings: SETTINGS });
}
