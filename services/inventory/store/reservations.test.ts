import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Tx } from "#libs/db";
import type { ReservationState } from "../domain/reservation.ts";
import { createInventoryDatabase, type InventoryDatabase } from "../testing/database.ts";
import { listReservations } from "./reservations.ts";

/** So many that reading them shows. */
const ENDED = 5_000;
const LIMIT = 50;

let database: InventoryDatabase;
before(async () => {
  database = await createInventoryDatabase();
  const { sql } = database;
  // Two that are EXPIRED lie far behind all that was committed.
  await sql`
    insert into ended_reservations
    select
      'demo', gen_random_uuid(), case when n > ${ENDED - 2} then 'EXPIRED' else 'COMMITTED' end, 'till-1',
      '[]', now() - n * interval '1 second', now(), now()
    from generate_series(1, ${ENDED}) as n`;
  await sql`
    insert into reservations
    select 'demo', gen_random_uuid(), 'ACTIVE', 'till-1', '[]', now() - n * interval '1 second', null, null
    from generate_series(1, 3) as n`;
  await sql`analyze reservations, ended_reservations`;
});
after(async () => {
  await database.drop();
});

// By this connection so far, also by transactions that it has not told the server's statistics of yet.
async function rowsRead(tx: Tx): Promise<number> {
  const [row] = await tx<{ read: number }[]>`
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as read
    from pg_stat_xact_user_tables
    where relname like 'ended_reservations%'`;
  return row?.read ?? 0;
}

async function list(state: ReservationState | undefined) {
  return await database.sql.begin(async (tx) => {
    const readBefore = await rowsRead(tx);
    const filter = { state, owner: "" };
    const listed = await listReservations(tx, "demo", filter, { after: undefined, limit: LIMIT });
    return { listed: listed.length, read: (await rowsRead(tx)) - readBefore };
  });
}

test("what is live is listed without a look at what has ended", async () => {
  assert.deepEqual(await list("ACTIVE"), { listed: 3, read: 0 });
});

test("the few that expired are listed without a look at the many that were committed", async () => {
  assert.deepEqual(await list("EXPIRED"), { listed: 2, read: 2 });
});

test("any other list reads about as many as it shows", async () => {
  for (const state of ["COMMITTED", undefined] as const) {
    const { listed, read } = await list(state);
    assert.equal(listed, LIMIT);
    assert.ok(read > 0 && read <= LIMIT + 2, `${read} were read`);
  }
});
