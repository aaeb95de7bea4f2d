import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { uuidv7 } from "#libs/db";
import { DomainError } from "#libs/reasons";
import type { EndCall, ReserveCall, StockCall } from "../domain/calls.ts";
import { assertConsistent, countersOf } from "../testing/answers.ts";
import { createScene, type Instance, type Scene, stockItem } from "../testing/scene.ts";
import { archiveItem } from "./items.ts";

let scene: Scene;
let instances: readonly Instance[];
before(async () => {
  scene = await createScene();
  instances = [scene, scene.another()];
});
after(() => scene.drop());

type Lines = Readonly<Record<string, number>>;

function orderCall(orderId: string, lines: Lines): ReserveCall {
  return {
    kind: "reserve",
    reservationId: orderId,
    minted: false,
    owner: `orders/${orderId}`,
    lines: Object.entries(lines).map(([sku, quantity]) => ({ sku, quantity, locationId: "main" })),
    expiry: { kind: "none" },
    idempotentById: true,
    validateOnly: false,
  };
}

function tillCall(reservationId: string, lines: Lines): ReserveCall {
  const expiry = { kind: "ttl", ttlMs: 60_000 } as const;
  return { ...orderCall(reservationId, lines), owner: "till-1", expiry, idempotentById: false };
}

function endCall(kind: EndCall["kind"], reservationId: string, party: EndCall["party"] = "order"): EndCall {
  return { kind, reservationId, party };
}

/** The state that a call came to, or the reason of its refusal. */
async function outcomeOf(at: number, call: Exclude<StockCall, { kind: "adjust" }>): Promise<string> {
  const { changes } = instances[at % instances.length] ?? scene;
  try {
    return (await changes.reservation("demo", call)).state;
  } catch (error) {
    if (error instanceof DomainError) return error.reason;
    throw error;
  }
}

function countOf(outcomes: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    [...new Set(outcomes)]
      .sort()
      .map((name) => [name, outcomes.filter((outcome) => outcome === name).length]),
  );
}

describe("two instances at once", () => {
  test("1,000 buyers of the last 100 units: exactly 100 win, in each of 5 rounds", async () => {
    for (let round = 0; round < 5; round += 1) {
      const sku = `last-${round}`;
      await stockItem(scene, sku, 100);
      const outcomes = await Promise.all(
        Array.from({ length: 1_000 }, (_, at) => outcomeOf(at, orderCall(uuidv7(), { [sku]: 1 }))),
      );
      assert.deepEqual(countOf(outcomes), { ACTIVE: 100, INSUFFICIENT_STOCK: 900 });
      assert.deepEqual(await countersOf(scene, sku), [100, 100, 0]);
    }
  });

  test("lines that overlap in opposite order meet no deadlock; each has all its lines or none", async () => {
    const skus = ["over-a", "over-b", "over-c", "over-d"];
    for (const sku of skus) await stockItem(scene, sku, 150);
    const outcomes = await Promise.all(
      Array.from({ length: 400 }, (_, at) => {
        const order = at % 2 ? skus : skus.toReversed();
        return outcomeOf(at, orderCall(uuidv7(), Object.fromEntries(order.map((sku) => [sku, 1]))));
      }),
    );
    assert.deepEqual(countOf(outcomes), { ACTIVE: 150, INSUFFICIENT_STOCK: 250 });
    for (const sku of skus) assert.deepEqual(await countersOf(scene, sku), [150, 150, 0]);
  });

  test("commit, release and expiry at once: one of them wins, and the counters agree", async () => {
    await stockItem(scene, "one-outcome", 500);
    const ids = Array.from({ length: 100 }, () => uuidv7());
    await Promise.all(ids.map((id) => outcomeOf(0, tillCall(id, { "one-outcome": 1 }))));
    // Half of them are due, so that time takes part in the race.
    await scene.sql`
      update reservations set expire_time = now() where reservation_id = any(${ids.slice(50)}::uuid[])`;
    const finals = await Promise.all(
      ids.map(async (reservationId, at) => {
        const told = await Promise.all([
          outcomeOf(at, endCall("commit", reservationId, "caller")),
          outcomeOf(at + 1, endCall("release", reservationId, "caller")),
          outcomeOf(at, { kind: "expire", reservationId, trigger: "sweeper" }),
        ]);
        return told.slice(0, 2).filter((outcome) => outcome === "COMMITTED" || outcome === "RELEASED");
      }),
    );
    for (const [at, winners] of finals.entries()) assert.equal(winners.length, at < 50 ? 1 : 0);
    const rows = await scene.sql<{ state: string; count: number }[]>`
      select state, count(*)::integer as count
      from ended_reservations
      where reservation_id = any(${ids}::uuid[])
      group by state`;
    const counts = Object.fromEntries(rows.map(({ state, count }) => [state, count]));
    const { COMMITTED = 0, RELEASED = 0 } = counts;
    assert.equal(counts["EXPIRED"], 50);
    assert.equal(COMMITTED + RELEASED, 50);
    assert.deepEqual(await countersOf(scene, "one-outcome"), [500 - COMMITTED, 0, 500 - COMMITTED]);
  });

  test("a reservation and its release that race end released, whichever came first", async () => {
    await stockItem(scene, "tombs", 1_000);
    const ids = Array.from({ length: 200 }, () => randomUUID());
    await Promise.all(
      ids.flatMap((id, at) => [
        outcomeOf(at, orderCall(id, { tombs: 1 })),
        outcomeOf(at + 1, endCall("release", id)),
      ]),
    );
    const states = await Promise.all(ids.map((id, at) => outcomeOf(at, orderCall(id, { tombs: 1 }))));
    assert.deepEqual(countOf(states), { RELEASED: 200 });
    assert.deepEqual(await countersOf(scene, "tombs"), [1_000, 0, 1_000]);
  });

  test("one id, reserved by many at once and with different lines, is one reservation", async () => {
    await stockItem(scene, "same-a", 1_000);
    await stockItem(scene, "same-b", 1_000);
    const ids = Array.from({ length: 40 }, () => randomUUID());
    const outcomes = await Promise.all(
      ids.flatMap((id) =>
        Array.from({ length: 6 }, (_, at) =>
          outcomeOf(at, orderCall(id, { [at % 2 ? "same-a" : "same-b"]: 1 })),
        ),
      ),
    );
    assert.deepEqual(countOf(outcomes), { ACTIVE: 240 });
    const [first, second] = await Promise.all([countersOf(scene, "same-a"), countersOf(scene, "same-b")]);
    assert.equal((first[1] ?? 0) + (second[1] ?? 0), 40);
  });

  test("an item that is archived is not reserved once that is answered", async () => {
    for (let round = 0; round < 5; round += 1) {
      const sku = `archived-${round}`;
      await stockItem(scene, sku, 10_000);
      let archived = false;
      const late: string[] = [];
      const buyers = Array.from({ length: 8 }, async (_, at) => {
        // Each goes on until it has tried five times after the answer, however late that comes.
        for (let lateTries = 0; lateTries < 5; ) {
          const afterwards = archived;
          const outcome = await outcomeOf(at, orderCall(uuidv7(), { [sku]: 1 }));
          if (!afterwards) continue;
          late.push(outcome);
          lateTries += 1;
        }
      });
      const archiving = archiveItem(scene.sql, "demo", sku).finally(() => {
        archived = true;
      });
      await Promise.all([...buyers, archiving]);
      assert.deepEqual(countOf(late), { ITEM_ARCHIVED: 40 });
    }
  });

  test("whatever happened, the ledger agrees", () => assertConsistent(scene));
});

test("any interleaving keeps counters, ledger and live reservations in agreement", async () => {
  const skus = ["any-a", "any-b", "any-c"];
  for (const sku of skus) await stockItem(scene, sku, 20);
  const number = fc.integer({ min: 1, max: 30 });
  const lines = fc.dictionary(fc.constantFrom(...skus), fc.integer({ min: 1, max: 5 }), { minKeys: 1 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("reserve" as const), number, lines }),
    fc.record({ kind: fc.constantFrom("commit" as const, "release" as const), number }),
    fc.record({
      kind: fc.constant("adjust" as const),
      sku: fc.constantFrom(...skus),
      delta: fc.integer({ min: -4, max: 6 }),
    }),
  );
  const idOf = (run: string, of: number) => `${run.slice(0, -2)}${String(of).padStart(2, "0")}`;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
      const run = randomUUID();
      const work = steps.map(async (one, at) => {
        const { changes } = instances[at % 2] ?? scene;
        if (one.kind === "adjust") {
          const moved = [{ sku: one.sku, locationId: "main", delta: one.delta || 1 }];
          const call = {
            kind: "adjust",
            adjustmentId: uuidv7(),
            changes: moved,
            reason: "",
            reference: "",
          } as const;
          await changes.adjustment("demo", call).catch((error: unknown) => {
            if (!(error instanceof DomainError)) throw error;
          });
        } else if (one.kind === "reserve") await outcomeOf(at, orderCall(idOf(run, one.number), one.lines));
        else await outcomeOf(at, endCall(one.kind, idOf(run, one.number)));
      });
      await Promise.all(work);
      await assertConsistent(scene);
    }),
    { numRuns: 25 },
  );
});
