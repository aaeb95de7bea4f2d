import { randomUUID } from "node:crypto";
import { connect, fingerprintOf, migrate, type Sql } from "#libs/db";

export type TestDatabase = {
  readonly url: string;
  readonly sql: Sql;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
};

/** Serialises the making of templates among test files that start together. Any constant would do. */
const TEMPLATE_LOCK = 4_851_470_216;

/**
 * Makes a database of its own for a test: a clone of a template that was migrated once. Needs
 * TEST_DATABASE_URL, which `make test` sets.
 */
export async function createTestDatabase(migrations: string): Promise<TestDatabase> {
  const server = process.env["TEST_DATABASE_URL"];
  if (!server)
    throw new Error(
      "TEST_DATABASE_URL is not set: run tests by `make test` or under `node stack/test.ts -- `",
    );
  const admin = connect({ url: server, name: "test-admin", max: 1 });
  try {
    const template = await ensureTemplate(admin, server, migrations);
    const name = `test_${randomUUID().replaceAll("-", "")}`;
    // Under the lock too: a database can't be cloned while another clone of it is under way in some versions.
    await underLock(admin, () => admin.unsafe(`create database ${name} template ${template}`));
    const url = withDatabase(server, name);
    const sql = connect({ url, name: "test" });
    return { url, sql, drop: () => drop(server, name, sql) };
  } finally {
    await admin.end();
  }
}

async function ensureTemplate(admin: Sql, server: string, migrations: string): Promise<string> {
  const fingerprint = await fingerprintOf(migrations);
  const name = `template_${fingerprint.slice(0, 16)}`;
  await underLock(admin, async () => {
    const found = await admin`select 1 from pg_database where datname = ${name} and datistemplate`;
    if (found.length > 0) return;
    await admin.unsafe(`drop database if exists ${name}`);
    await admin.unsafe(`create database ${name}`);
    const sql = connect({ url: withDatabase(server, name), name: "test-template", max: 1 });
    try {
      await migrate(sql, migrations);
    } finally {
      await sql.end();
    }
    await admin.unsafe(`alter database ${name} with is_template true`);
  });
  return name;
}

async function underLock(admin: Sql, work: () => Promise<unknown>): Promise<void> {
  await admin`select pg_advisory_lock(${TEMPLATE_LOCK})`;
  try {
    await work();
  } finally {
    await admin`select pg_advisory_unlock(${TEMPLATE_LOCK})`;
  }
}

async function drop(server: string, name: string, sql: Sql): Promise<void> {
  await sql.end({ timeout: 1 });
  const admin = connect({ url: server, name: "test-admin", max: 1 });
  try {
    await admin.unsafe(`drop database if exists ${name} with (force)`);
  } finally {
    await admin.end();
  }
}

function withDatabase(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
