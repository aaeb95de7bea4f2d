import { connect, type Sql } from "#libs/db";

/**
 * Statements are planned once a connection and kept, often while a table is still empty. Every one of them
 * goes by an index row by row, and these settings see to it that no plan made for an empty table reads a
 * full one from end to end.
 */
const SETTINGS = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  jit: "off",
};

/** Opens the pool of an instance of the service. */
export function connectStore(url: string, name: string): Sql {
  return connect({ url, name, settings: SETTINGS });
}
