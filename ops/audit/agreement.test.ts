import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Limits,
  type OrderFacts,
  type OrderState,
  type ReservationFacts,
  type ReservationState,
  suspicionsOf,
} from "./agreement.ts";
import { mergeById } from "./merge.ts";

const limits: Limits = { reservingMs: 40_000, overdueMs: 10_000, eventMs: 60_000 };
const lines = [{ sku: "TEA", locationId: "", quantity: 2 }];

function orderOf(state: OrderState, change: Partial<OrderFacts> = {}): OrderFacts {
  const version = state === "RESERVING" ? 1 : state === "PENDING" || state === "REJECTED" ? 2 : 3;
  return {
    tenant: "demo",
    orderId: "a",
    state,
    version,
    rejectionReason: undefined,
    lines,
    ageMs: 1_000,
    unchangedMs: 1_000,
    overdueMs: undefined,
    endTime: state === "RESERVING" || state === "PENDING" ? undefined : 5_000,
    transitions: version,
    lastSequence: version,
    lastState: state,
    ...change,
  };
}

function reservationOf(state: ReservationState, change: Partial<ReservationFacts> = {}): ReservationFacts {
  return {
    tenant: "demo",
    reservationId: "a",
    state,
    lines: [{ sku: "TEA", locationId: "main", quantity: 2 }],
    linesAreKept: true,
    unchangedMs: 1_000,
    ...change,
  };
}

function kindsOf(order: OrderFacts | undefined, reservation: ReservationFacts | undefined): string[] {
  return suspicionsOf({ order, reservation, isTwice: false }, limits, 0).map(
    ({ kind, isEventAwaited }) => `${kind}${isEventAwaited ? " (event)" : ""}`,
  );
}

test("every pair of states is right, awaits an event, or is wrong", () => {
  const disagree = "STATES_DISAGREE";
  const awaited = "STATES_DISAGREE (event)";
  const table: [OrderState, Record<ReservationState | "none", string>][] = [
    ["RESERVING", { none: "", ACTIVE: "", COMMITTED: disagree, RELEASED: "", EXPIRED: disagree }],
    [
      "PENDING",
      { none: "RESERVATION_MISSING", ACTIVE: "", COMMITTED: disagree, RELEASED: disagree, EXPIRED: disagree },
    ],
    [
      "SETTLED",
      { none: "RESERVATION_MISSING", ACTIVE: awaited, COMMITTED: "", RELEASED: disagree, EXPIRED: disagree },
    ],
    [
      "CANCELLED",
      { none: "RESERVATION_MISSING", ACTIVE: awaited, COMMITTED: disagree, RELEASED: "", EXPIRED: disagree },
    ],
    [
      "EXPIRED",
      { none: "RESERVATION_MISSING", ACTIVE: awaited, COMMITTED: disagree, RELEASED: "", EXPIRED: disagree },
    ],
    ["REJECTED", { none: "", ACTIVE: disagree, COMMITTED: disagree, RELEASED: "", EXPIRED: disagree }],
  ];
  for (const [state, expected] of table) {
    assert.equal(kindsOf(orderOf(state), undefined).join(), expected.none, `${state} alone`);
    for (const other of ["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"] as const) {
      assert.equal(
        kindsOf(orderOf(state), reservationOf(other)).join(),
        expected[other],
        `${state}, ${other}`,
      );
    }
  }
  const abandoned = orderOf("REJECTED", { rejectionReason: "ABANDONED" });
  assert.deepEqual(kindsOf(abandoned, reservationOf("ACTIVE")), [awaited]);
});

test("stock that is kept for no order is told, stock that was given back is not", () => {
  assert.deepEqual(kindsOf(undefined, reservationOf("ACTIVE")), ["ORDER_MISSING"]);
  assert.deepEqual(kindsOf(undefined, reservationOf("COMMITTED")), ["ORDER_MISSING"]);
  assert.deepEqual(kindsOf(undefined, reservationOf("RELEASED")), []);
});

test("time is told only past its limit", () => {
  assert.deepEqual(kindsOf(orderOf("RESERVING", { ageMs: 40_000 }), undefined), []);
  assert.deepEqual(kindsOf(orderOf("RESERVING", { ageMs: 40_001 }), undefined), ["RESERVING_TOO_LONG"]);
  assert.deepEqual(kindsOf(orderOf("PENDING", { overdueMs: 10_000 }), reservationOf("ACTIVE")), []);
  assert.deepEqual(kindsOf(orderOf("PENDING", { overdueMs: 10_001 }), reservationOf("ACTIVE")), ["OVERDUE"]);
});

test("lines are compared by their sums, and the default location has a name", () => {
  const twice = [
    { sku: "TEA", locationId: "", quantity: 1 },
    { sku: "TEA", locationId: "main", quantity: 1 },
  ];
  assert.deepEqual(kindsOf(orderOf("PENDING", { lines: twice }), reservationOf("ACTIVE")), []);
  assert.deepEqual(kindsOf(orderOf("PENDING", { lines: twice.slice(1) }), reservationOf("ACTIVE")), [
    "LINES_DISAGREE",
  ]);
  const unkept = reservationOf("ACTIVE", { linesAreKept: false });
  assert.deepEqual(kindsOf(orderOf("PENDING"), unkept), ["LINES_DISAGREE"]);
});

test("a history with a gap, or with another end than its order, is told", () => {
  const pending = reservationOf("ACTIVE");
  assert.deepEqual(kindsOf(orderOf("PENDING", { transitions: 1 }), pending), ["HISTORY_BROKEN"]);
  assert.deepEqual(kindsOf(orderOf("PENDING", { lastState: "SETTLED" }), pending), ["HISTORY_BROKEN"]);
});

test("an order that ended before the oldest reservation that is in use misses nothing", () => {
  const pair = { order: orderOf("SETTLED"), reservation: undefined, isTwice: false };
  assert.equal(suspicionsOf(pair, limits, 5_000).length, 1);
  assert.equal(suspicionsOf(pair, limits, 5_001).length, 0);
});

test("two walks are merged: what has no partner comes alone, and a second of one id by itself", async () => {
  async function* orders() {
    for (const orderId of ["a", "b", "d"]) yield orderOf("PENDING", { orderId });
    return undefined;
  }
  async function* reservations() {
    for (const reservationId of ["b", "b", "c", "d", "e"]) yield reservationOf("ACTIVE", { reservationId });
    return undefined;
  }
  const pairs: string[] = [];
  for await (const { order, reservation, isTwice } of mergeById(orders(), reservations())) {
    pairs.push(`${order?.orderId ?? "-"}${reservation?.reservationId ?? "-"}${isTwice ? "!" : ""}`);
  }
  assert.deepEqual(pairs, ["a-", "bb", "-b!", "-c", "dd", "-e"]);
});
