import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DomainError } from "#libs/reasons";
import {
  failAttempt,
  isResolvedSo,
  type LatePolicy,
  lateStepOf,
  payLate,
  refundError,
  resolveRefund,
  settleLate,
} from "./late.ts";
import { type Change, confirm, expire, type Order, place } from "./order.ts";

const NOW = 20_000;
const draft = {
  orderId: "0198c0de-0000-7000-8000-000000000001",
  customerId: "ann",
  lines: [{ sku: "tea", quantity: 2, locationId: "main", unitAmount: 450n }],
  currency: "EUR",
  note: "",
};
const pending = confirm(place(draft, 1_000), 1_000, 10_000).order;

const pay = (order: Order, reference: string, policy: LatePolicy = "REACQUIRE") =>
  payLate(order, NOW, { reference, policy, reservationId: `late-${reference}` });

function orderAfter({ change }: { readonly change: Change | undefined }): Order {
  assert.ok(change);
  return change.order;
}

const expired = expire(pending, 10_000, "nudge").order;
const attempted = orderAfter(pay(expired, "one"));
const refundable = failAttempt(attempted, NOW, "INSUFFICIENT_STOCK", "api").order;
const resolved = resolveRefund(refundable, NOW, "sent back").order;
const orders = { expired, attempted, refundable, resolved };

type Act = (order: Order) => Change | undefined;
const acts: Record<string, Act> = {
  "the same payment": (order) => pay(order, "one").change,
  "another payment": (order) => pay(order, "two").change,
  "the same payment, REFUSE": (order) => pay(order, "one", "REFUSE").change,
  "another payment, REFUSE": (order) => pay(order, "two", "REFUSE").change,
  "stock that is there": (order) => settleLate(order, NOW),
  "stock that is gone": (order) => failAttempt(order, NOW, "INSUFFICIENT_STOCK", "api"),
  "a refund": (order) => resolveRefund(order, NOW, "sent back"),
};

/** What each act makes of each order: what it is then and the events, a reason, nothing, or a defect. */
const table: Record<string, Record<keyof typeof orders, string>> = {
  "the same payment": {
    expired: "attempted",
    attempted: "nothing",
    refundable: "nothing",
    resolved: "nothing",
  },
  "another payment": {
    expired: "attempted",
    attempted: "CONFLICT",
    refundable: "refundable",
    resolved: "refundable OrderRefundRequired",
  },
  "the same payment, REFUSE": {
    expired: "refundable OrderRefundRequired",
    attempted: "CONFLICT",
    refundable: "nothing",
    resolved: "nothing",
  },
  "another payment, REFUSE": {
    expired: "refundable OrderRefundRequired",
    attempted: "CONFLICT",
    refundable: "refundable",
    resolved: "refundable OrderRefundRequired",
  },
  "stock that is there": {
    expired: "defect",
    attempted: "settled late OrderSettled",
    refundable: "defect",
    resolved: "defect",
  },
  "stock that is gone": {
    expired: "defect",
    attempted: "refundable OrderRefundRequired OrderAbandoned",
    refundable: "defect",
    resolved: "defect",
  },
  "a refund": {
    expired: "REFUND_NOT_REQUIRED",
    attempted: "REFUND_NOT_REQUIRED",
    refundable: "resolved",
    resolved: "REFUND_NOT_REQUIRED",
  },
};

function kindOf(order: Order): string {
  if (order.state === "SETTLED") return order.late ? "settled late" : "settled";
  if (order.lateAttempt) return "attempted";
  if (order.refundRequired) return "refundable";
  return order.refundResolveTime === undefined ? "expired" : "resolved";
}

function outcomeOf(act: Act, order: Order): string {
  try {
    const change = act(order);
    if (!change) return "nothing";
    assert.equal(change.order.version, order.version + 1);
    assert.deepEqual(
      [change.transition.sequence, change.transition.fromState, change.transition.toState],
      [change.order.version, "EXPIRED", change.order.state],
    );
    return [kindOf(change.order), ...change.events.map(({ type }) => type)].join(" ");
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return error instanceof DomainError ? error.reason : "defect";
  }
}

describe("an order that has expired", () => {
  for (const [name, outcomes] of Object.entries(table)) {
    for (const [kind, outcome] of Object.entries(outcomes)) {
      it(`${kind}, meets ${name}: ${outcome}`, () => {
        const [[, order] = []] = Object.entries(orders).filter(([key]) => key === kind);
        const act = acts[name];
        assert.ok(order && act);
        assert.equal(kindOf(order), kind);
        assert.equal(outcomeOf(act, order), outcome);
      });
    }
  }

  it("has its new stock under the reservation of the payment that began", () => {
    const [event] = settleLate(attempted, NOW).events;
    assert.ok(event?.type === "OrderSettled");
    assert.deepEqual(event.late, { reservationId: "late-one" });
    assert.equal(event.paymentReference, "one");
  });

  it("tells whoever repeats a request what its payment came to", () => {
    assert.equal(lateStepOf(expired), undefined);
    assert.equal(lateStepOf(attempted)?.kind, "attempt");
    assert.equal(lateStepOf(refundable)?.kind, "refund");
    assert.equal(lateStepOf(resolved)?.kind, "refund");
    assert.equal(lateStepOf(settleLate(attempted, NOW).order), undefined);
    assert.equal(refundError(refundable).data.metadata?.["refund_required"], "true");
    assert.ok(isResolvedSo(resolved, "sent back") && !isResolvedSo(resolved, "otherwise"));
    assert.ok(!isResolvedSo(refundable, ""));
  });

  it("knows each payment that came too late, also once the refund is resolved and others followed", () => {
    const noted = orderAfter(pay(refundable, "two"));
    const again = resolveRefund(noted, NOW, "sent back").order;
    for (const reference of ["one", "two"]) {
      assert.deepEqual(pay(noted, reference), { kind: "refund", change: undefined });
      assert.deepEqual(pay(again, reference), { kind: "refund", change: undefined });
    }
    const third = orderAfter(pay(again, "three"));
    assert.equal(third.paymentReference, "three");
    const last = resolveRefund(third, NOW, "sent back").order;
    for (const reference of ["one", "two", "three"]) {
      assert.deepEqual(pay(last, reference), { kind: "refund", change: undefined });
    }
  });

  it("knows the one payment that a release before wrote, and keeps it when others follow", () => {
    const old = { ...resolved, latePaymentReferences: [] };
    assert.equal(pay(old, "one").change, undefined);
    const followed = resolveRefund(orderAfter(pay(old, "two")), NOW, "sent back").order;
    assert.equal(pay(followed, "one").change, undefined);
    assert.ok(pay(followed, "three").change);
  });

  it("knows no payment without a reference but the one whose refund came last", () => {
    const noted = orderAfter(pay(refundable, ""));
    assert.ok(pay(noted, "").change);
    assert.deepEqual(noted.latePaymentReferences, ["one"]);
    const nameless = orderAfter(pay(resolved, ""));
    assert.equal(pay(nameless, "").change, undefined);
    assert.equal(pay(nameless, "one").change, undefined);
  });

  it("keeps the newest hundred references, and that of the refund", () => {
    let order = refundable;
    for (let number = 1; number <= 150; number += 1) order = orderAfter(pay(order, `more ${number}`));
    assert.equal(order.latePaymentReferences.length, 100);
    assert.deepEqual(
      ["one", "more 150", "more 51", "more 50"].map(
        (reference) => pay(order, reference).change === undefined,
      ),
      [true, true, true, false],
    );
  });

  it("is settled or refunded once for each payment, whatever comes in whatever order", () => {
    const names = fc.array(fc.constantFrom(...Object.keys(acts)), { maxLength: 30 });
    fc.assert(
      fc.property(names, (steps) => {
        let order = expired;
        let open = 0;
        const told: string[] = [];
        for (const name of steps) {
          if (order.state === "SETTLED") break;
          try {
            const change = acts[name]?.(order);
            if (!change) continue;
            const required = change.events.filter(({ type }) => type === "OrderRefundRequired").length;
            open += required - (name === "a refund" ? 1 : 0);
            assert.equal(open, change.order.refundRequired ? 1 : 0);
            const [, payment] = /(?:required|give it back too).*: (.*)$/.exec(change.transition.reason) ?? [];
            if (payment !== undefined) told.push(payment);
            assert.equal(new Set(told).size, told.length, `told twice: ${told.join()}`);
            order = change.order;
          } catch (error) {
            if (error instanceof assert.AssertionError) throw error;
          }
        }
        if (order.state === "SETTLED") assert.equal(open, 0);
      }),
      { verbose: true },
    );
  });
});
