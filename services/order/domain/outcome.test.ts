import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { failAttempt, payLate, settleLate } from "./late.ts";
import { abandon, cancel, confirm, expire, type Order, place, reject, settle, shortageOf } from "./order.ts";
import { outcomeFor } from "./outcome.ts";

const NOW = 30_000;
const orderId = "0198c0de-0000-7000-8000-000000000001";
const late = "0198c0de-0000-7000-8000-00000000aaaa";
const draft = {
  orderId,
  customerId: "ann",
  lines: [{ sku: "tea", quantity: 2, locationId: "main", unitAmount: 450n }],
  currency: "EUR",
  note: "",
};
const reserving = place(draft, 1_000);
const pending = confirm(reserving, 1_000, 10_000).order;
const expired = expire(pending, 10_000, "nudge").order;
const payment = { reference: "pay", policy: "REACQUIRE", reservationId: late } as const;
const attempted = payLate(expired, 20_000, payment).change?.order ?? expired;

const orders: Record<string, Order | undefined> = {
  reserving,
  pending,
  settled: settle(pending, 2_000, "pay").order,
  cancelled: cancel(pending, 2_000, "why").order,
  expired,
  attempted,
  "settled late": settleLate(attempted, 21_000)?.order,
  "refused late": failAttempt(attempted, 21_000, "INSUFFICIENT_STOCK", "api").order,
  short: reject(reserving, 2_000, shortageOf(orderId, []), false).order,
  abandoned: abandon(reserving, 2_000, "recovery").order,
  none: undefined,
};

describe("a live reservation that is asked after", () => {
  const own: [string, object | undefined][] = [
    ["reserving", undefined],
    ["pending", undefined],
    ["settled", { type: "OrderSettled", orderId, paymentReference: "pay", time: 2_000 }],
    ["cancelled", { type: "OrderCancelled", orderId, reason: "why", time: 2_000 }],
    ["expired", { type: "OrderExpired", orderId, expireTime: 10_000, time: 10_000 }],
    ["attempted", { type: "OrderExpired", orderId, expireTime: 10_000, time: 10_000 }],
    ["settled late", { type: "OrderExpired", orderId, expireTime: 10_000, time: 10_000 }],
    ["short", { type: "OrderAbandoned", orderId, time: 2_000 }],
    ["abandoned", { type: "OrderAbandoned", orderId, time: 2_000 }],
    ["none", { type: "OrderAbandoned", orderId, reservationId: orderId, time: NOW }],
  ];
  for (const [name, event] of own) {
    it(`of an order that is ${name}: ${event ? "its outcome" : "nothing"} is told`, () => {
      assert.deepEqual(
        outcomeFor({ orderId, reservationId: orderId }, orders[name], { now: NOW, late: true }),
        event,
      );
    });
  }

  const given = { type: "OrderAbandoned", orderId, reservationId: late, time: NOW };
  const second: [string, object | undefined][] = [
    ["attempted", undefined],
    [
      "settled late",
      {
        type: "OrderSettled",
        orderId,
        paymentReference: "pay",
        time: 21_000,
        late: { reservationId: late },
      },
    ],
    ["refused late", given],
    ["pending", given],
    ["none", given],
  ];
  for (const [name, event] of second) {
    it(`for a late payment of an order that is ${name}: ${event ? "its end" : "nothing"} is told`, () => {
      assert.deepEqual(
        outcomeFor({ orderId, reservationId: late }, orders[name], { now: NOW, late: true }),
        event,
      );
    });
  }

  it("of an order that does not exist is left alone until it is late", () => {
    for (const reservationId of [orderId, late])
      assert.equal(outcomeFor({ orderId, reservationId }, undefined, { now: NOW, late: false }), undefined);
  });
});
