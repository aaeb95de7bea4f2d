import { join } from "node:path";
import type { Sql } from "#libs/db";
import { createTestDatabase } from "#libs/testing";
import { connectStore } from "../store/connect.ts";
import { ensurePartitions } from "../store/partitions.ts";

export type InventoryDatabase = {
  readonly url: string;
  readonly sql: Sql;
  /** Another pool, as another instance would have. */
  connect(): Sql;
  drop(): Promise<void>;
};

/** Makes a database of the service for a test. */
export async function createInventoryDatabase(): Promise<InventoryDatabase> {
  const database = await createTestDatabase(join(import.meta.dirname, "../migrations"));
  await ensurePartitions(database.sql);
  const pools: Sql[] = [];
  const connect = () => {
    const pool = connectStore(database.url, "test-inventory");
    pools.push(pool);
    return pool;
  };
  return {
    url: database.url,
    sql: connect(),
    connect,
    drop: async () => {
      await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
      await database.drop();
    },
  };
}
