/** A server that vanishes without a word is noticed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import { type FaultProxy, startProxy } from "../../faults/proxy.ts";
import { connect, type Sql } from "./connect.ts";
import { isUnavailable } from "./failure.ts";
import { type Listener, watchForSilence } from "./silence.ts";
import { inTransaction } from "./transaction.ts";

const LIMIT_MS = 1_000;
/** So long that a busy machine answers a dozen statements in it. */
const LONG_LIMIT_MS = 4_000;
/** A test process that shares its machine may be late by so much. */
const LATE_MS = 3_000;

let database: TestDatabase;
let proxy: FaultProxy;

before(async () => {
  database = await createTestDatabase(join(import.meta.dirname, "../events/migrations"));
  proxy = await startProxy(new URL(database.url).host);
});
after(async () => {
  await proxy.stop();
  await database.drop();
});

function openPool(max: number, silenceLimitMs = LIMIT_MS): Sql {
  const url = new URL(database.url);
  url.host = proxy.address;
  return connect({ url: url.href, name: "test-silence", max, silenceLimitMs });
}

async function pidOf(sql: Sql): Promise<number> {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  assert(row);
  return row.pid;
}

// The driver may tell the first statement of a new connection what had ended the old one.
async function echo(sql: Sql, text: string): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    try {
      const [row] = await sql<{ text: string }[]>`select ${text} as text`;
      return row?.text;
    } catch (error) {
      if (tries === 5 || !isUnavailable(error)) throw error;
    }
  }
}

test("what waits on a silent server is refused at the limit, and the pool goes on afterwards", async () => {
  const sql = openPool(2);
  await Promise.all([pidOf(sql), pidOf(sql)]);
  proxy.setWeather({ kind: "blackHole" });
  const startedAt = performance.now();
  const alone = sql`select 1`;
  const together = inTransaction(sql, async (tx) => {
    await Promise.all([tx`select ${1}::integer`, tx`select 2`]);
  });
  await Promise.all([assert.rejects(alone, isUnavailable), assert.rejects(together, isUnavailable)]);
  const tookMs = performance.now() - startedAt;
  assert(tookMs >= LIMIT_MS && tookMs < LIMIT_MS + LATE_MS, `it took ${tookMs} ms`);
  assert(proxy.counts().keptBack > 0);
  proxy.setWeather({ kind: "pass" });
  const answers = await Promise.all(["a", "b", "c"].map((text) => echo(sql, text)));
  assert.deepEqual(answers, ["a", "b", "c"]);
  await sql.end({ timeout: 1 });
});

test("more statements on a silent connection give it no more time", async () => {
  const sql = openPool(1);
  await pidOf(sql);
  proxy.setWeather({ kind: "blackHole" });
  const startedAt = performance.now();
  const first = sql`select 1`.then(
    () => "answered",
    () => "refused",
  );
  const more: Promise<unknown>[] = [];
  const asking = setInterval(() => more.push(sql`select 2`.catch(() => {})), LIMIT_MS / 10);
  assert.equal(await first, "refused");
  clearInterval(asking);
  assert(performance.now() - startedAt < LIMIT_MS + LATE_MS);
  proxy.setWeather({ kind: "pass" });
  await Promise.all(more);
  await sql.end({ timeout: 1 });
});

test("the idle connections to a server that has vanished are given up with the first one", async () => {
  const sql = openPool(4, LONG_LIMIT_MS);
  await Promise.all([1, 2, 3, 4].map(() => sql`select pg_sleep(0.1)`));
  const { halfOpened } = proxy.counts();
  proxy.halfOpen();
  assert.equal(proxy.counts().halfOpened - halfOpened, 4);
  await assert.rejects(pidOf(sql), isUnavailable);
  const startedAt = performance.now();
  for (let statement = 0; statement < 8; statement += 1) assert.equal(await echo(sql, "a"), "a");
  assert(performance.now() - startedAt < LONG_LIMIT_MS, "a connection that had vanished was used again");
  await sql.end({ timeout: 1 });
});

test("idle connections, and transactions that are busy elsewhere, may be silent", async () => {
  const sql = openPool(2);
  const patient = database.sql;
  await inTransaction(sql, async (tx) => {
    const idle = await pidOf(sql);
    const [earlier] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
    await patient`select pg_sleep(${(2 * LIMIT_MS) / 1_000})`;
    const [later] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
    assert.deepEqual(later, earlier);
    assert.equal(await pidOf(sql), idle);
  });
  await sql.end({ timeout: 1 });
});

function message(type: string, body: number): Buffer {
  const data = Buffer.alloc(5 + body);
  data.write(type, "latin1");
  data.writeUInt32BE(4 + body, 1);
  return data;
}

/** Whether a listener with no patience calls what it has heard a silence. */
async function isSilenceNoticed(hear: (listener: Listener) => void) {
  let noticed = false;
  const listener = watchForSilence(1).listen(() => {
    noticed = true;
  });
  hear(listener);
  const turns = Promise.withResolvers<void>();
  setTimeout(() => setImmediate(turns.resolve), 3);
  await turns.promise;
  listener.stop();
  return noticed;
}

test("an answer counts when it is whole, however it is cut", async () => {
  const startUp = Buffer.concat([message("R", 4), message("S", 20), message("Z", 1)]);
  const answer = Buffer.concat([message("D", 300), message("C", 9), message("Z", 1)]);
  const cuts = fc.array(fc.nat({ max: startUp.length + answer.length }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(cuts, fc.boolean(), async (places, isWhole) => {
      const all = Buffer.concat([startUp, answer]).subarray(0, isWhole ? undefined : -1);
      const noticed = await isSilenceNoticed((listener) => {
        listener.started();
        listener.sent(Buffer.concat([message("P", 40), message("E", 5), message("S", 0)]));
        let from = 0;
        for (const to of [...places.toSorted((one, other) => one - other), all.length]) {
          listener.received(all.subarray(from, to));
          from = to;
        }
      });
      assert.equal(noticed, !isWhole);
    }),
    { numRuns: 50 },
  );
});

test("a description that was asked for is owed as well", async () => {
  const asked = Buffer.concat([message("P", 9), message("D", 3), message("H", 0)]);
  assert.equal(await isSilenceNoticed((listener) => listener.sent(asked)), true);
  const described = await isSilenceNoticed((listener) => {
    listener.sent(asked);
    listener.received(message("T", 30));
  });
  assert.equal(described, false);
});
