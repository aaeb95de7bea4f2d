import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Sql } from "./connect.ts";

export type AppliedMigration = { readonly name: string; readonly checksum: string };

type Migration = AppliedMigration & { readonly text: string };

/**
 * One at a time a database: two instances that start together must not both migrate. Any constant would do.
 */
const MIGRATION_LOCK = 4_851_470_215;

/**
 * Brings the database up to the newest migration of `folder` (`0001_name.sql`, `0002_...`) and returns the
 * names of those it applied. Each runs in a transaction of its own. A file that was edited after it was
 * applied is an error.
 */
export async function migrate(sql: Sql, folder: string): Promise<string[]> {
  const migrations = await readMigrations(folder);
  const connection = await sql.reserve();
  try {
    // For as long as another process migrates; a migration itself waits for a lock no longer than a
    // statement.
    await connection`select set_config('lock_timeout', '0', false)`;
    await connection`select pg_advisory_lock(${MIGRATION_LOCK})`;
    await connection`reset lock_timeout`;
    await connection`
      create table if not exists schema_migrations (
        name text primary key,
        checksum text not null,
        apply_time timestamptz not null default now()
      )`;
    const applied = await connection<
      AppliedMigration[]
    >`select name, checksum from schema_migrations order by name`;
    const pending = pendingOf(migrations, applied);
    for (const migration of pending) {
      await connection`begin`;
      try {
        await connection.unsafe(migration.text);
        await connection`
          insert into schema_migrations (name, checksum)
          values (${migration.name}, ${migration.checksum})`;
        await connection`commit`;
      } catch (error) {
        await connection`rollback`;
        throw new Error(`migration ${migration.name} failed and was rolled back`, { cause: error });
      }
    }
    return pending.map((migration) => migration.name);
  } finally {
    await connection`select pg_advisory_unlock(${MIGRATION_LOCK})`.catch(() => {});
    connection.release();
  }
}

/**
 * The migrations of `folder`, in their order. They are the release's and do not change under a process, so
 * one that asks for them often reads them once.
 */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(folder, name), "utf8");
      return { name, text, checksum: createHash("sha256").update(text).digest("hex") };
    }),
  );
}

/** The names of those of the migrations that this database lacks: empty when the service may start. */
export async function pendingMigrations(sql: Sql, migrations: readonly Migration[]): Promise<string[]> {
  const [table] = await sql<
    { exists: boolean }[]
  >`select to_regclass('schema_migrations') is not null as exists`;
  const applied = table?.exists
    ? await sql<AppliedMigration[]>`select name, checksum from schema_migrations`
    : [];
  return pendingOf(migrations, applied).map((migration) => migration.name);
}

/** `ok` if the database answers and lacks none of the migrations, or what is wrong; never rejects. */
export async function checkMigrations(sql: Sql, migrations: readonly Migration[]): Promise<string> {
  try {
    const pending = await pendingMigrations(sql, migrations);
    return pending.length === 0 ? "ok" : `lacks ${pending.join(", ")}: run main.ts migrate`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A digest of the migrations of `folder`: another one whenever any of them changed. */
export async function fingerprintOf(folder: string): Promise<string> {
  const migrations = await readMigrations(folder);
  if (migrations.length === 0) throw new Error(`there are no migrations in ${folder}`);
  const hash = createHash("sha256");
  for (const { name, checksum } of migrations) hash.update(`${name} ${checksum}\n`);
  return hash.digest("hex");
}

function pendingOf(migrations: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  const checksums = new Map(applied.map((migration) => [migration.name, migration.checksum]));
  return migrations.filter((migration) => {
    const checksum = checksums.get(migration.name);
    if (checksum !== undefined && checksum !== migration.checksum) {
      throw new Error(
        `migration ${migration.name} was edited after it had been applied: write a new one instead`,
      );
    }
    return checksum === undefined;
  });
}
