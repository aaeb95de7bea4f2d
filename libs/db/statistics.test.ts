import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import { analyzeGrown, inTransaction } from "./index.ts";

const ROWS = 50_000;
let folder: string;
let database: TestDatabase;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "statistics-"));
  await writeFile(join(folder, "0001_things.sql"), "create table things (id int primary key, note text);");
  database = await createTestDatabase(folder);
});

after(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});

async function knownRows(): Promise<number> {
  const [row] = await database.sql<{ rows: number }[]>`
    select reltuples::int as rows from pg_class where relname = 'things'`;
  return row?.rows ?? Number.NaN;
}

test("a table that has grown is counted anew, once", async () => {
  const { sql } = database;
  await sql`insert into things select id, 'a thing' from generate_series(1, ${ROWS}) as id`;
  assert.deepEqual(await analyzeGrown(sql), ["things"]);
  assert.equal(await knownRows(), ROWS);
  assert.deepEqual(await analyzeGrown(sql), []);
});

test("rows are counted that an import had not committed when its table was counted", async () => {
  const { sql } = database;
  await sql`truncate things`;
  await sql`analyze things`;
  await inTransaction(sql, async (tx) => {
    await tx`insert into things select id, 'a thing' from generate_series(1, ${ROWS}) as id`;
    await sql`analyze things`;
    await tx`select pg_stat_force_next_flush()`;
  });
  assert.equal(await knownRows(), 0, "the statistics know none of the rows");
  assert.deepEqual(await analyzeGrown(sql), ["things"]);
  assert.equal(await knownRows(), ROWS);
});
