import { connect, type Sql } from "#libs/db";

/**
 * Statements are planned once a connection and kept, often while a table is still empty. Each of them is
 * meant to go by an index, row by row; these settings see to it that no plan made for an empty table
 * reads a full one from end to end, and spare a batch over 250 items the 20 ms that the planner's choice
 * for a small table took.
 */
export const STORE_SETTINGS = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  enable_material: "off",
  enable_memoize: "off",
  jit: "off",
};

/** Opens the pool of an instance of the service. */
export function connectStore(url: string, name: string): Sql {
  return connect({ url, name, settings: STORE_SETTINGS });
}
