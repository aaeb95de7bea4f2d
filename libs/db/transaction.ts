import { setTimeout as pause } from "node:timers/promises";
import type { Sql, Tx } from "./connect.ts";
import { isConflict, isConnectionLost } from "./failure.ts";

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
  return await retryConflicts(() => begin(sql, options.mode ?? "read write", work), options.attempts);
}

/**
 * Does `work`, which is a whole transaction, again after a serialization failure or a deadlock, a bounded
 * number of times; then the database's error is thrown. For a statement that is a transaction by itself.
 */
export async function retryConflicts<Result>(
  work: () => Promise<Result>,
  attempts = ATTEMPTS,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= attempts || !isConflict(error)) throw error;
      await pause(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2));
    }
  }
}

// When the connection is lost, the driver rejects the transaction as a whole, and that is all that may
// happen: what `work` or the driver's own rollback sent on that connection then would end the process, or run
// in a transaction of somebody else once the connection is made anew (postgres.js 3.4.9, its issues 1208 and
// 1216). So from then on `work` is neither answered nor heard. Nor is it once it has failed: what a part of
// it that still goes on sent behind the rollback would take effect by itself.
async function begin<Result>(sql: Sql, mode: string, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  let isOver = false;
  const fence: ProxyHandler<Tx> = {
    apply: (target, self, args): unknown => (isOver ? forever() : Reflect.apply(target, self, args)),
  };
  // The box keeps the result's type, which the driver would otherwise unwrap as if it were a list of queries.
  async function workUntilOver(tx: Tx): Promise<{ result: Result }> {
    try {
      const result = await work(new Proxy(tx, fence));
      return isOver ? await forever() : { result };
    } catch (error) {
      if (isOver || isConnectionLost(error)) return await forever();
      isOver = true;
      throw error;
    }
  }
  try {
    const box = await sql.begin(mode, workUntilOver);
    return box.result;
  } finally {
    isOver = true;
  }
}

// It is forgotten together with whoever waits for it.
function forever(): Promise<never> {
  return new Promise(() => {});
}
