import postgres from "postgres";
import { watchForSilence } from "./silence.ts";
import { longStartUp, openSocket, type Target } from "./socket.ts";

/** A pool of connections; `int8` columns arrive as bigint, `timestamptz(3)` ones as Date. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

/** The connection of an open transaction. */
export type Tx = postgres.TransactionSql<{ bigint: bigint }>;

/** A statement as a part of another one; only if it is awaited it is sent by itself. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>;

export type ConnectOptions = {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** Most connections of this process. */
  readonly max?: number;
  /** After this time Postgres ends a statement. */
  readonly statementTimeoutMs?: number;
  /** A connection that owes an answer and is silent for so long is closed; 5 s more than that if absent. */
  readonly silenceLimitMs?: number;
  /** Further settings of each connection, by the server's names for them. */
  readonly settings?: Readonly<Record<string, string>>;
};

/**
 * Connections a process: enough for a batch, a relay, a sweeper and reads at once, and 12 processes fit a
 * default server.
 */
const POOL_SIZE = 8;
/** A statement that runs longer than the longest deadline accepted (30 s) has nobody waiting for it. */
const STATEMENT_TIMEOUT_MS = 30_000;
/**
 * A server that lives has ended a statement at its timeout and says so within this time. So one that is
 * silent for longer has vanished without a word: no machine answers there any more, and nobody would tell.
 * The statements that raise their own timeout (VerifyStock, the archive) have a pool for it.
 */
const SILENCE_MARGIN_MS = 5_000;
/**
 * An idle connection is asked for a sign of life after this time, and by Node's rules given up 10 s later.
 */
const KEEP_ALIVE_S = 10;
/** Longer than any batch holds its locks, shorter than the default deadline of a call (5 s). */
const LOCK_TIMEOUT_MS = 4_000;
/**
 * No transaction here waits for anything but the database, so an idle one is a defect or a frozen process.
 */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_S = 5;
const IDLE_TIMEOUT_S = 300;
/** Connections are made anew now and then, so that they spread again after a failover. */
const MAX_LIFETIME_S = 3_600;

/** Opens a pool; connections are made when they are needed, so an absent server shows at the first query. */
export function connect(options: ConnectOptions): Sql {
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  const silenceLimitMs = options.silenceLimitMs ?? statementTimeoutMs + SILENCE_MARGIN_MS;
  const watch = watchForSilence(silenceLimitMs);
  // The driver's types do not know this option.
  const ownSocket: object = { socket: (target: Target) => openSocket(target, watch) };
  return postgres(options.url, {
    max: options.max ?? POOL_SIZE,
    connect_timeout: CONNECT_TIMEOUT_S,
    idle_timeout: IDLE_TIMEOUT_S,
    max_lifetime: MAX_LIFETIME_S,
    keep_alive: KEEP_ALIVE_S,
    // How long a lost server is left alone before the next try, so that it is not hammered while it starts.
    backoff: (attempt: number) => Math.min(0.1 * 2 ** attempt, 2),
    types: { bigint: postgres.BigInt },
    onnotice: () => {},
    ...ownSocket,
    connection: {
      ...longStartUp,
      ...options.settings,
      application_name: options.name,
      TimeZone: "UTC",
      statement_timeout: statementTimeoutMs,
      lock_timeout: LOCK_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    },
  });
}
