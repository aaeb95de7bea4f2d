import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { codeOfReason, DomainError, type Reason } from "#libs/reasons";
import { verdictOf, verdictOfFailure } from "./reservation.ts";

const reasons = Object.keys(codeOfReason).filter((name): name is Reason => Object.hasOwn(codeOfReason, name));

/** Reasons after which nobody knows whether the stock is reserved. */
const undecided: readonly Reason[] = [
  "DEPENDENCY_UNAVAILABLE",
  "DEADLINE_PASSED",
  "CALL_CANCELLED",
  "INTERNAL_ERROR",
];

function verdictOfReason(reason: string): string {
  const refusal = { reason, message: "no", metadata: {}, shortages: [], field: "lines[0].sku" };
  try {
    const verdict = verdictOf("order", { state: "REFUSED", refusal });
    if (verdict.kind === "reject") return `reject ${verdict.rejection.reason}`;
    return verdict.kind === "takeBack" ? `takeBack ${verdict.error.reason}` : verdict.kind;
  } catch (error) {
    return error instanceof DomainError ? `undecided ${error.reason}` : "defect";
  }
}

describe("what becomes of an order", () => {
  it("is said by the state of its reservation", () => {
    assert.deepEqual(verdictOf("order", { state: "RESERVED" }), { kind: "confirm" });
    assert.deepEqual(verdictOf("order", { state: "RELEASED" }), { kind: "abandon" });
  });

  it("is to stay, rejected, when the stock is not there", () => {
    assert.equal(verdictOfReason("INSUFFICIENT_STOCK"), "reject INSUFFICIENT_STOCK");
    assert.equal(verdictOfReason("ITEM_ARCHIVED"), "reject ITEM_ARCHIVED");
  });

  it("is to be taken back after any other refusal that is certain, and to wait after one that is not", () => {
    for (const reason of reasons) {
      if (reason === "INSUFFICIENT_STOCK" || reason === "ITEM_ARCHIVED") continue;
      const told = reason === "RESERVATION_EXISTS" ? "ORDER_EXISTS" : reason;
      const expected = undecided.includes(reason) ? `undecided ${reason}` : `takeBack ${told}`;
      assert.equal(verdictOfReason(reason), expected);
    }
  });

  it("waits when Inventory gives a reason that is unknown here", () => {
    assert.equal(verdictOfReason("FROM_THE_FUTURE"), "undecided INTERNAL_ERROR");
  });

  it("waits when the call failed, unless it was certainly not carried out", () => {
    const failure = (reason: Reason) => () => verdictOfFailure(new DomainError(reason, ""));
    assert.equal(failure("OVERLOADED")().kind, "takeBack");
    for (const reason of undecided) assert.throws(failure(reason), { reason });
    assert.throws(() => verdictOfFailure(new Error("broken")), { message: "broken" });
  });
});
