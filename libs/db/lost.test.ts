/** A connection that is lost harms nothing but what was under way on it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import { connect, type Sql, type Tx } from "./connect.ts";
import { isUnavailable } from "./failure.ts";
import { fromStartUp } from "./socket.ts";
import { inTransaction } from "./transaction.ts";

const ANSWER_TIMEOUT_MS = 10_000;

let database: TestDatabase;

before(async () => {
  database = await createTestDatabase(join(import.meta.dirname, "../events/migrations"));
  await database.sql`create table notes (note text not null)`;
});
after(async () => {
  await database.drop();
});

function openPool(max: number): Sql {
  return connect({ url: database.url, name: "test-lost", max });
}

async function endBackend(pid: number): Promise<void> {
  await database.sql`select pg_terminate_backend(${pid})`;
}

async function inTime<Result>(work: Promise<Result>): Promise<Result> {
  const late = pause(ANSWER_TIMEOUT_MS, "late" as const, { ref: false });
  const first = await Promise.race([work, late]);
  assert.notEqual(first, "late", "it was never answered");
  return await work;
}

// The driver may tell the first statement of a new connection what had ended the old one.
async function patiently<Result>(sql: Sql, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await inTransaction(sql, work);
    } catch (error) {
      if (tries === 5 || !isUnavailable(error)) throw error;
    }
  }
}

async function pidOf(sql: Tx): Promise<number> {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  assert(row);
  return row.pid;
}

test("transactions whose connection the server ends are refused, and the next ones work", async () => {
  const sql = openPool(2);
  for (let round = 0; round < 20; round += 1) {
    const lost = inTransaction(sql, async (tx) => {
      const pid = await pidOf(tx);
      const sleeping = Promise.all([tx`select pg_sleep(5)`, tx`select 1`, tx`select pg_sleep(5)`]);
      await Promise.all([sleeping, endBackend(pid)]);
    });
    await assert.rejects(inTime(lost), isUnavailable);
    const answers = await inTime(
      Promise.all(
        ["a", "b", "c", "d"].map((text) =>
          patiently(sql, async (tx) => {
            const [row] = await tx<{ text: string }[]>`select ${text} as text`;
            return row?.text;
          }),
        ),
      ),
    );
    assert.deepEqual(answers, ["a", "b", "c", "d"]);
  }
  await sql.end();
});

test("what a transaction sends once its connection is lost runs nowhere", async () => {
  const sql = openPool(1);
  const goOn = Promise.withResolvers<void>();
  const lost = inTransaction(sql, async (tx) => {
    await tx`insert into notes (note) values ('before')`;
    await endBackend(await pidOf(tx));
    await goOn.promise;
    await tx`insert into notes (note) values ('after')`;
  });
  await assert.rejects(inTime(lost), isUnavailable);
  // The only connection of the pool is made anew and is in somebody else's transaction when the first one
  // goes on.
  await inTime(
    patiently(sql, async (tx) => {
      await tx`insert into notes (note) values ('other')`;
      goOn.resolve();
      await tx`select pg_sleep(0.05)`;
    }),
  );
  const notes = await database.sql`select note from notes order by note`;
  assert.deepEqual(
    notes.map(({ note }) => note),
    ["other"],
  );
  await sql.end();
});

test("what was left over from a lost connection is cut off before a start-up message", () => {
  const startUp = Buffer.alloc(20);
  startUp.writeInt32BE(startUp.length, 0);
  startUp.writeInt32BE(0x0003_0000, 4);
  assert.deepEqual(fromStartUp(startUp), startUp);
  assert.deepEqual(fromStartUp(Buffer.concat([Buffer.from("Q\0\0\0\rrollback\0"), startUp])), startUp);
  const other = Buffer.from("Q\0\0\0\rrollback\0");
  assert.deepEqual(fromStartUp(other), other);
});
