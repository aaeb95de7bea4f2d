import { setTimeout as pause } from "node:timers/promises";
import type { Sql, Tx } from "./connect.ts";
import { isConflict } from "./failure.ts";

export type TransactionOptions = {
  /** Tries before a conflict is the caller's; 5 if absent. */
  readonly attempts?: number;
  /** A snapshot for reads that belong together, or the default. */
  readonly mode?: "read write" | "isolation level repeatable read read only";
};

const ATTEMPTS = 5;
/** The first pause after a conflict; it doubles, and half of it is random so that the parties part. */
const FIRST_PAUSE_MS = 5;

/**
 * Runs `work` in one transaction and commits it. After a serialization failure or a deadlock everything is
 * done again, a bounded number of times; then the database's error is thrown. `work` may run more than once
 * and must use `tx` only.
 */
export async function inTransaction<Result>(
  sql: Sql,
  work: (tx: Tx) => Promise<Result>,
  options: TransactionOptions = {},
): Promise<Result> {
  const attempts = options.attempts ?? ATTEMPTS;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await begin(sql, options.mode ?? "read write", work);
    } catch (error) {
      if (attempt >= attempts || !isConflict(error)) throw error;
      await pause(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2));
    }
  }
}

async function begin<Result>(sql: Sql, mode: string, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  // The box keeps the result's type, which the driver would otherwise unwrap as if it were a list of queries.
  const box = await sql.begin(mode, async (tx) => ({ result: await work(tx) }));
  return box.result;
}
