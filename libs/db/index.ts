export { type ClockReading, databaseNow, readClock, timeSince } from "./clock.ts";
export { booleans, bytes, names, numbers, texts, times, uuids } from "./columns.ts";
export { type ConnectOptions, connect, type Fragment, type Sql, type Tx } from "./connect.ts";
export {
  asDomainError,
  type ConstraintReasons,
  isDuplicate,
  isOneCallsFault,
} from "./failure.ts";
export {
  type AppliedMigration,
  checkMigrations,
  fingerprintOf,
  migrate,
  pendingMigrations,
  readMigrations,
} from "./migrate.ts";
export { analyzeGrown } from "./statistics.ts";
export { inTransaction, retryConflicts, type TransactionOptions } from "./transaction.ts";
export { uuidv7 } from "./uuid.ts";
