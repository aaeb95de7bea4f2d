import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DomainError } from "#libs/reasons";
import {
  abandon,
  abandonment,
  type Change,
  cancel,
  checkDraft,
  confirm,
  expire,
  extend,
  type Order,
  place,
  reject,
  rejectionError,
  type State,
  settle,
  shortageOf,
  stateAt,
  totalAmountOf,
} from "./order.ts";

const PLACED_AT = 1_000;
const DUE_AT = 10_000;
const draft = {
  orderId: "0198c0de-0000-7000-8000-000000000001",
  customerId: "ann",
  lines: [{ sku: "tea", quantity: 2, locationId: "main", unitAmount: 450n }],
  currency: "EUR",
  note: "",
};
const shortage = { sku: "tea", locationId: "main", requested: 2, available: 1 };
const reserving = place(draft, PLACED_AT);
const pending = confirm(reserving, PLACED_AT, DUE_AT).order;
const rejection = shortageOf(draft.orderId, [shortage]);

const orders: Record<State, Order> = {
  RESERVING: reserving,
  PENDING: pending,
  SETTLED: settle(pending, 2_000, "pay").order,
  CANCELLED: cancel(pending, 2_000, "why").order,
  EXPIRED: expire(pending, DUE_AT, "nudge").order,
  REJECTED: reject(reserving, 2_000, rejection, false).order,
};

const transitions: Record<string, (order: Order, now: number) => Change> = {
  confirm: (order, now) => confirm(order, now, now + 5_000),
  reject: (order, now) => reject(order, now, rejection, false),
  abandon: (order, now) => abandon(order, now, "recovery"),
  settle: (order, now) => settle(order, now, "pay"),
  cancel: (order, now) => cancel(order, now, "why"),
  extend: (order, now) => extend(order, now, 5_000),
  expire: (order, now) => expire(order, now, "sweeper"),
};

/** What each transition makes of each state: the state it leads to, a reason, or a defect. */
const before: [State, string, string][] = [
  ["RESERVING", "confirm", "PENDING"],
  ["RESERVING", "reject", "REJECTED"],
  ["RESERVING", "abandon", "REJECTED"],
  ["RESERVING", "settle", "CONFLICT"],
  ["RESERVING", "cancel", "CONFLICT"],
  ["RESERVING", "extend", "CONFLICT"],
  ["RESERVING", "expire", "defect"],
  ["PENDING", "confirm", "defect"],
  ["PENDING", "reject", "defect"],
  ["PENDING", "abandon", "defect"],
  ["PENDING", "settle", "SETTLED"],
  ["PENDING", "cancel", "CANCELLED"],
  ["PENDING", "extend", "PENDING"],
  ["PENDING", "expire", "defect"],
  ...(["SETTLED", "CANCELLED", "EXPIRED", "REJECTED"] as const).flatMap(
    (state): [State, string, string][] => [
      [state, "confirm", "defect"],
      [state, "reject", "defect"],
      [state, "abandon", "defect"],
      [state, "settle", `ORDER_${state}`],
      [state, "cancel", `ORDER_${state}`],
      [state, "extend", `ORDER_${state}`],
      [state, "expire", "defect"],
    ],
  ),
];

const due: [State, string, string][] = [
  ["PENDING", "settle", "ORDER_EXPIRED"],
  ["PENDING", "cancel", "ORDER_EXPIRED"],
  ["PENDING", "extend", "ORDER_EXPIRED"],
  ["PENDING", "expire", "EXPIRED"],
  ["RESERVING", "confirm", "PENDING"],
  ["RESERVING", "settle", "CONFLICT"],
  ["SETTLED", "expire", "defect"],
  ["CANCELLED", "settle", "ORDER_CANCELLED"],
];

function outcomeOf(state: State, name: string, now: number): string {
  const transition = transitions[name];
  assert.ok(transition);
  try {
    return transition(orders[state], now).order.state;
  } catch (error) {
    return error instanceof DomainError ? error.reason : "defect";
  }
}

describe("a transition", () => {
  it("is in the table for every state", () => {
    assert.equal(before.length, Object.keys(orders).length * Object.keys(transitions).length);
  });
  for (const [state, name, outcome] of before) {
    it(`${name} of a ${state} order before its time: ${outcome}`, () => {
      assert.equal(outcomeOf(state, name, DUE_AT - 1), outcome);
    });
  }
  for (const [state, name, outcome] of due) {
    it(`${name} of a ${state} order at its time: ${outcome}`, () => {
      assert.equal(outcomeOf(state, name, DUE_AT), outcome);
    });
  }
});

describe("what a transition leaves behind", () => {
  it("is one row of history and the event of its kind", () => {
    const events = Object.entries(transitions).map(([name, transition]) => {
      const reservingFirst = ["confirm", "reject", "abandon"].includes(name);
      const change = transition(reservingFirst ? reserving : pending, name === "expire" ? DUE_AT : 2_000);
      const from = reservingFirst ? reserving : pending;
      assert.equal(change.transition.fromState, from.state);
      assert.equal(change.transition.toState, change.order.state);
      assert.equal(change.transition.sequence, from.version + 1);
      assert.equal(change.order.version, from.version + 1);
      return change.events.map(({ type }) => type).join();
    });
    assert.deepEqual(events, [
      "OrderPlaced",
      "OrderRejected",
      "OrderAbandoned",
      "OrderSettled",
      "OrderCancelled",
      "OrderExtended",
      "OrderExpired",
    ]);
  });

  it("has an end exactly when the order has ended", () => {
    for (const [state, order] of Object.entries(orders)) {
      assert.equal(order.endTime !== undefined, state !== "RESERVING" && state !== "PENDING", state);
    }
  });

  it("is never an earlier expire_time", () => {
    assert.equal(extend(pending, 2_000, 1_000).order.expireTime, DUE_AT);
    assert.equal(extend(pending, 2_000, 50_000).order.expireTime, 52_000);
  });
});

describe("a rejected order's error", () => {
  it("names the shortages, or says that the order was given up", () => {
    const short = rejectionError("id", rejection);
    assert.equal(short.reason, "INSUFFICIENT_STOCK");
    assert.deepEqual(short.data.shortages, [shortage]);
    assert.match(short.message, /tea at main: 2 requested, 1 available/);
    assert.equal(rejectionError("id", abandonment).reason, "ORDER_REJECTED");
  });
});

describe("a draft", () => {
  it("needs a currency if a line has an amount", () => {
    assert.throws(() => checkDraft({ ...draft, currency: "" }), { reason: "INVALID_FIELD" });
    checkDraft({
      ...draft,
      currency: "",
      lines: [{ sku: "tea", quantity: 1, locationId: "main", unitAmount: 0n }],
    });
  });

  it("has a total that fits an int64 at the limits of the contract", () => {
    const line = { sku: "tea", quantity: 1_000_000, locationId: "main", unitAmount: 10_000_000_000n };
    const total = totalAmountOf(Array.from({ length: 100 }, () => line));
    assert.equal(total, 10n ** 18n);
    assert.ok(total < 2n ** 63n);
  });
});

it("whatever is tried in whatever order, an order ends at most once and its history has no gap", () => {
  const step = fc.record({ name: fc.constantFrom(...Object.keys(transitions)), afterMs: fc.nat(3_000) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let order = reserving;
      let now = PLACED_AT;
      const history: Change["transition"][] = [];
      for (const { name, afterMs } of steps) {
        now += afterMs;
        const wasRead = stateAt(order, now);
        try {
          const change = transitions[name]?.(order, now);
          assert.ok(change);
          assert.ok(wasRead === "RESERVING" || wasRead === "PENDING" || change.order.state === "EXPIRED");
          history.push(change.transition);
          order = change.order;
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
        }
      }
      history.forEach(({ sequence, fromState }, index) => {
        assert.equal(sequence, index + 2);
        assert.equal(fromState, history[index - 1]?.toState ?? "RESERVING");
      });
      const ends = history.filter(({ toState }) => toState !== "PENDING");
      assert.ok(ends.length <= 1);
      if (ends.length === 1) assert.equal(ends[0], history.at(-1));
    }),
    { verbose: true },
  );
});
