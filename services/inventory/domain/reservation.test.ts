import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DomainError } from "#libs/reasons";
import {
  isDue,
  type Party,
  type Reservation,
  type ReservationState,
  readAt,
  sumLines,
  type Transition,
  transit,
} from "./reservation.ts";

const NOW = 1_000_000;
const ID = "01890000-0000-7000-8000-000000000001";

function reservationIn(state: ReservationState, fields: Partial<Reservation> = {}): Reservation {
  const ended = state === "ACTIVE" ? {} : { endTime: NOW - 5 };
  const lines = [{ sku: "tea", locationId: "main", quantity: 2 }];
  return { reservationId: ID, state, owner: "till-1", lines, createTime: NOW - 100, ...ended, ...fields };
}

function reasonOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    return error instanceof DomainError ? error.reason : String(error);
  }
}

describe("the transitions of a reservation", () => {
  // Who asks for what of a reservation in which state, and what it comes to: a state, or the reason of the
  // refusal.
  type Row = [ReservationState, Transition, Party, "till" | "order", string];
  const live = { expireTime: NOW + 10 };
  const rows: Row[] = [
    ["ACTIVE", "commit", "caller", "till", "COMMITTED"],
    ["ACTIVE", "release", "caller", "till", "RELEASED"],
    ["ACTIVE", "extend", "caller", "till", "ACTIVE"],
    ["COMMITTED", "commit", "caller", "till", "RESERVATION_COMMITTED"],
    ["COMMITTED", "release", "caller", "till", "RESERVATION_COMMITTED"],
    ["COMMITTED", "extend", "caller", "till", "RESERVATION_COMMITTED"],
    ["RELEASED", "commit", "caller", "till", "RESERVATION_RELEASED"],
    ["RELEASED", "release", "caller", "till", "RESERVATION_RELEASED"],
    ["RELEASED", "extend", "caller", "till", "RESERVATION_RELEASED"],
    ["EXPIRED", "commit", "caller", "till", "RESERVATION_EXPIRED"],
    ["EXPIRED", "release", "caller", "till", "RESERVATION_EXPIRED"],
    ["EXPIRED", "extend", "caller", "till", "RESERVATION_EXPIRED"],
    ["COMMITTED", "expire", "time", "till", "RESERVATION_COMMITTED"],
    ["RELEASED", "expire", "time", "till", "RESERVATION_RELEASED"],
    ["EXPIRED", "expire", "time", "till", "RESERVATION_EXPIRED"],
    ["ACTIVE", "commit", "order", "order", "COMMITTED"],
    ["ACTIVE", "release", "order", "order", "RELEASED"],
    ["COMMITTED", "commit", "order", "order", "COMMITTED"],
    ["COMMITTED", "release", "order", "order", "RESERVATION_COMMITTED"],
    ["RELEASED", "commit", "order", "order", "RESERVATION_RELEASED"],
    ["RELEASED", "release", "order", "order", "RELEASED"],
    ["ACTIVE", "commit", "caller", "order", "RESERVATION_OWNED_BY_ORDER"],
    ["ACTIVE", "release", "caller", "order", "RESERVATION_OWNED_BY_ORDER"],
    ["ACTIVE", "extend", "caller", "order", "RESERVATION_OWNED_BY_ORDER"],
    ["COMMITTED", "commit", "caller", "order", "RESERVATION_OWNED_BY_ORDER"],
    ["RELEASED", "release", "caller", "order", "RESERVATION_OWNED_BY_ORDER"],
    ["ACTIVE", "commit", "order", "till", "RESERVATION_EXISTS"],
    ["ACTIVE", "release", "order", "till", "RESERVATION_EXISTS"],
    ["RELEASED", "release", "order", "till", "RESERVATION_EXISTS"],
  ];
  for (const [state, transition, party, owner, outcome] of rows) {
    test(`${state} of a ${owner}, ${transition} by ${party}: ${outcome}`, () => {
      const before = reservationIn(state, owner === "till" ? live : { owner: `orders/${ID}` });
      const run = () => transit(before, transition, party, NOW, NOW + 60);
      if (outcome.startsWith("RESERVATION_")) {
        assert.equal(reasonOf(run), outcome);
        return;
      }
      const after = run();
      assert.equal(after.state, outcome);
      assert.equal(after.endTime, outcome === "ACTIVE" ? undefined : state === outcome ? NOW - 5 : NOW);
    });
  }

  test("a due reservation expires, one that is not due cannot", () => {
    const due = reservationIn("ACTIVE", { expireTime: NOW });
    assert.equal(transit(due, "expire", "time", NOW).state, "EXPIRED");
    assert.throws(() => transit(reservationIn("ACTIVE", live), "expire", "time", NOW), /is not due/);
    assert.throws(() => transit(reservationIn("ACTIVE"), "expire", "time", NOW), /is not due/);
  });

  test("an extension never makes a promise shorter", () => {
    const long = reservationIn("ACTIVE", { expireTime: NOW + 500 });
    assert.equal(transit(long, "extend", "caller", NOW, NOW + 60).expireTime, NOW + 500);
  });
});

test("a reservation whose time has run out reads EXPIRED, ended when it fell due", () => {
  const due = reservationIn("ACTIVE", { expireTime: NOW - 7 });
  assert.equal(isDue(due, NOW), true);
  assert.deepEqual(readAt(due, NOW), { ...due, state: "EXPIRED", endTime: NOW - 7 });
  const live = reservationIn("ACTIVE", { expireTime: NOW + 1 });
  assert.equal(readAt(live, NOW), live);
});

test("lines of one item and location are summed, and sorted byte by byte", () => {
  const line = (sku: string, locationId: string, quantity: number) => ({ sku, locationId, quantity });
  assert.deepEqual(
    sumLines([line("b", "main", 1), line("a", "x", 2), line("B", "main", 3), line("b", "main", 4)]),
    [line("B", "main", 3), line("a", "x", 2), line("b", "main", 5)],
  );
});
