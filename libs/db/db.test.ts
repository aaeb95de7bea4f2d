import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DomainError } from "#libs/reasons";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import {
  asDomainError,
  checkMigrations,
  connect,
  databaseNow,
  inTransaction,
  isOneCallsFault,
  migrate,
  pendingMigrations,
  readMigrations,
  uuidv7,
} from "./index.ts";

let folder: string;
let database: TestDatabase;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "migrations-"));
  await writeFile(
    join(folder, "0001_pairs.sql"),
    `create table pairs (
      id int primary key,
      units bigint not null constraint units_not_negative check (units >= 0)
    );`,
  );
  database = await createTestDatabase(folder);
});

after(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});

describe("a transaction", () => {
  test("that deadlocks is done again until both sides have their way", async () => {
    const { sql } = database;
    await sql`insert into pairs (id, units) values (1, 0), (2, 0) on conflict do nothing`;
    let arrived = 0;
    let bothThere: () => void = () => {};
    const meeting = new Promise<void>((resolve) => {
      bothThere = resolve;
    });
    let tries = 0;
    const cross = (first: number, second: number) =>
      inTransaction(sql, async (tx) => {
        tries += 1;
        await tx`update pairs set units = units + 1 where id = ${first}`;
        arrived += 1;
        if (arrived === 2) bothThere();
        await meeting;
        await tx`update pairs set units = units + 1 where id = ${second}`;
      });
    await Promise.all([cross(1, 2), cross(2, 1)]);
    assert.ok(tries > 2, "there was a deadlock");
    const rows = await sql<{ units: bigint }[]>`select units from pairs order by id`;
    assert.deepEqual(
      rows.map(({ units }) => units),
      [2n, 2n],
    );
  });

  test("that collides at every try gives the conflict to its caller, as CONFLICT", async () => {
    let tries = 0;
    const attempt = inTransaction(
      database.sql,
      async (tx) => {
        tries += 1;
        await tx.unsafe("do $$ begin raise exception using errcode = '40001'; end $$");
      },
      { attempts: 3 },
    );
    const error = await attempt.then(
      () => undefined,
      (reason: unknown) => asDomainError(reason),
    );
    assert.equal(tries, 3);
    assert.ok(error instanceof DomainError && error.reason === "CONFLICT");
  });

  test("that fails leaves nothing behind", async () => {
    const { sql } = database;
    await assert.rejects(
      inTransaction(sql, async (tx) => {
        await tx`insert into pairs (id, units) values (9, 1)`;
        throw new Error("changed my mind");
      }),
      /changed my mind/,
    );
    assert.equal((await sql`select 1 from pairs where id = 9`).length, 0);
  });

  test("that fails takes nothing more from work that still goes on", async () => {
    const { sql } = database;
    for (let id = 100; id < 120; id += 1) {
      await assert.rejects(
        inTransaction(sql, async (tx) => {
          await tx`select 1`;
          // Comes while the driver waits for the end of its rollback.
          setImmediate(() => void Promise.resolve(tx`insert into pairs (id, units) values (${id}, 1)`));
          throw new Error("changed my mind");
        }),
        /changed my mind/,
      );
    }
    await inTransaction(sql, async (tx) => await tx`select 1`);
    assert.equal((await sql`select 1 from pairs where id >= 100`).length, 0);
  });
});

describe("what the database throws", () => {
  test("becomes the reason of its constraint", async () => {
    const error = await database.sql`insert into pairs (id, units) values (3, -1)`.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(isOneCallsFault(error));
    const known = asDomainError(error, {
      units_not_negative: () => new DomainError("STOCK_RESERVED", "too few"),
    });
    assert.ok(known instanceof DomainError && known.reason === "STOCK_RESERVED");
  });

  test("is DEPENDENCY_UNAVAILABLE when nobody listens", async () => {
    const nowhere = connect({ url: "postgres://nobody@127.0.0.1:1/none", name: "test" });
    const thrown = await nowhere`select 1`.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.equal(isOneCallsFault(thrown), false);
    const error = asDomainError(thrown);
    assert.ok(error instanceof DomainError && error.reason === "DEPENDENCY_UNAVAILABLE");
    await nowhere.end();
  });
});

describe("migrations", () => {
  test("are applied once, in order, also by two processes that start together", async () => {
    await writeFile(join(folder, "0002_more.sql"), "alter table pairs add column note text;");
    const migrations = await readMigrations(folder);
    assert.deepEqual(await pendingMigrations(database.sql, migrations), ["0002_more.sql"]);
    const applied = await Promise.all([migrate(database.sql, folder), migrate(database.sql, folder)]);
    assert.deepEqual(applied.flat(), ["0002_more.sql"]);
    assert.deepEqual(await pendingMigrations(database.sql, migrations), []);
  });

  test("wait for a process that migrates, however long", async () => {
    await writeFile(join(folder, "0003_slow.sql"), "select pg_sleep(4.5);");
    const applied = await Promise.all([migrate(database.sql, folder), migrate(database.sql, folder)]);
    assert.deepEqual(applied.flat(), ["0003_slow.sql"]);
    await database.sql`delete from schema_migrations where name = '0003_slow.sql'`;
    await rm(join(folder, "0003_slow.sql"));
  });

  test("are read once by a process that asks again and again whether they were applied", async () => {
    const release = join(folder, "release");
    await mkdir(release);
    await copyFile(join(folder, "0001_pairs.sql"), join(release, "0001_pairs.sql"));
    await writeFile(join(release, "0009_later.sql"), "create table later (id int);");
    const migrations = await readMigrations(release);
    // Whoever asks the disk again finds nothing, and takes nothing for enough.
    await rm(release, { recursive: true });
    assert.match(await checkMigrations(database.sql, migrations), /^lacks 0009_later\.sql: /);
    const [first] = migrations;
    assert.ok(first);
    assert.equal(await checkMigrations(database.sql, [first]), "ok");
  });

  test("that fail are rolled back and named", async () => {
    await writeFile(join(folder, "0003_broken.sql"), "create table half (id int); select nonsense;");
    await assert.rejects(migrate(database.sql, folder), /0003_broken\.sql/);
    const [row] = await database.sql`select to_regclass('half') as half`;
    assert.equal(row?.["half"], null);
    await rm(join(folder, "0003_broken.sql"));
  });

  test("that were edited afterwards are refused", async () => {
    await writeFile(join(folder, "0002_more.sql"), "alter table pairs add column notes text;");
    await assert.rejects(migrate(database.sql, folder), /edited/);
  });
});

test("UUIDs of version 7 are well formed, unique and in the order of time", () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => uuidv7(1_700_000_000_000 + index));
  assert.ok(
    ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)),
  );
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(ids.toSorted(), ids);
});

test("the database's clock is read in whole milliseconds", async () => {
  const now = await databaseNow(database.sql);
  assert.ok(Math.abs(now.getTime() - Date.now()) < 60_000);
});
