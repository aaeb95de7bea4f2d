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
    expireTime: state === "RESERVING" || state === "REJECTED" ? undefined : 4_000,
    isLate: false,
    lateReservationId: undefined,
    tryingMs: undefined,
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
    orderId: "a",
    state,
    lines: [{ sku: "TEA", locationId: "main", quantity: 2 }],
    linesAreKept: true,
    unchangedMs: 1_000,
    ...change,
  };
}

function kindsOf(order: OrderFacts | undefined, reservation: ReservationFacts | undefined): string[] {
  return kindsOfAll(order, reservation ? [reservation] : []);
}

function kindsOfAll(order: OrderFacts | undefined, reservations: ReservationFacts[]): string[] {
  return suspicionsOf({ order, reservations }, limits, 0).map(
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
    ["REJECTED", { none: "", ACTIVE: awaited, COMMITTED: disagree, RELEASED: "", EXPIRED: disagree }],
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

test("a late payment has a reservation of its own, beside the first that was given back", () => {
  const settled = orderOf("SETTLED", { isLate: true, lateReservationId: "b" });
  const first = reservationOf("RELEASED");
  const late = (state: ReservationState) => reservationOf(state, { reservationId: "b" });
  assert.deepEqual(kindsOfAll(settled, [first, late("COMMITTED")]), []);
  assert.deepEqual(kindsOfAll(settled, [first, late("ACTIVE")]), ["STATES_DISAGREE (event)"]);
  assert.deepEqual(kindsOfAll(settled, [first, late("RELEASED")]), ["STATES_DISAGREE"]);
  assert.deepEqual(kindsOfAll(settled, [first]), ["RESERVATION_MISSING"]);
  assert.deepEqual(kindsOfAll(settled, [reservationOf("COMMITTED"), late("COMMITTED")]), ["STATES_DISAGREE"]);

  const trying = orderOf("EXPIRED", { lateReservationId: "b", tryingMs: 1_000 });
  assert.deepEqual(kindsOfAll(trying, [first, late("ACTIVE")]), []);
  assert.deepEqual(kindsOfAll(trying, [first]), []);
  assert.deepEqual(kindsOfAll({ ...trying, tryingMs: 40_001 }, [first]), ["RESERVING_TOO_LONG"]);
  const refused = orderOf("EXPIRED", { lateReservationId: "b" });
  assert.deepEqual(kindsOfAll(refused, [first, late("ACTIVE")]), ["STATES_DISAGREE (event)"]);
  assert.deepEqual(kindsOfAll(refused, [first, late("RELEASED")]), []);
  assert.deepEqual(kindsOfAll(orderOf("EXPIRED"), [first, late("ACTIVE")]), ["ORDER_MISSING"]);
});

test("two reservations of one id are told", () => {
  const both = [reservationOf("ACTIVE"), reservationOf("RELEASED")];
  assert.deepEqual(kindsOfAll(orderOf("PENDING"), both), ["RESERVATION_TWICE"]);
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
  const one = { order: orderOf("SETTLED"), reservations: [] };
  assert.equal(suspicionsOf(one, limits, 5_000).length, 1);
  assert.equal(suspicionsOf(one, limits, 5_001).length, 0);
});

test("the first reservation of an order that was paid late may be forgotten before its second", () => {
  const order = orderOf("SETTLED", { version: 4, transitions: 4, lastSequence: 4, isLate: true });
  const late = reservationOf("COMMITTED", { reservationId: "late" });
  const one = { order: { ...order, lateReservationId: "late" }, reservations: [late] };
  assert.equal(suspicionsOf(one, limits, 4_000).length, 1);
  assert.equal(suspicionsOf(one, limits, 4_001).length, 0);
});

test("two walks are merged: what has no partner comes alone, and two of one id together", async () => {
  async function* orders() {
    for (const orderId of ["a", "b", "d"]) yield orderOf("PENDING", { orderId });
    return undefined;
  }
  async function* reservations() {
    for (const reservationId of ["b", "b", "c", "d", "e"]) yield reservationOf("ACTIVE", { reservationId });
    return undefined;
  }
  const pairs: string[] = [];
  for await (const { order, reservations: ofId } of mergeById(orders(), reservations())) {
    pairs.push(`${order?.orderId ?? "-"}:${ofId.map(({ reservationId }) => reservationId).join("")}`);
  }
  assert.deepEqual(pairs, ["a:", "b:bb", "-:c", "d:d", "-:e"]);
});
