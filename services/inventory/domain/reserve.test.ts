import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DomainError } from "#libs/reasons";
import { applyCall } from "./apply.ts";
import { type Book, openBook } from "./book.ts";
import type { EndCall, ReserveCall } from "./calls.ts";
import { ownerOfOrder, type Reservation, type ReservationState } from "./reservation.ts";
import { placeKey } from "./stock.ts";

const NOW = 1_700_000_000_000;
const [ORDER, LATE] = ["01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"];
const tea = { sku: "tea", locationId: "main" };

/** Two units of which an order has both, or had. */
function bookOf(state: ReservationState | undefined, owner = ownerOfOrder(ORDER)): Book {
  const lines = [{ ...tea, quantity: 2 }];
  const own: Reservation = { reservationId: ORDER, state: state ?? "ACTIVE", owner, lines, createTime: 1 };
  const level = {
    ...tea,
    onHand: state === "COMMITTED" ? 0 : 2,
    reserved: state === "ACTIVE" ? 2 : 0,
    version: 2,
    archived: false,
    reorderPoint: 0,
    updateTime: 1,
  };
  return openBook({
    now: NOW,
    levels: new Map([[placeKey(tea), level]]),
    requests: new Map(),
    reservations: state === undefined ? [] : [own],
  });
}

/** The call of an order that has expired and is paid late. */
function lateCall(quantity = 2, reservationId = LATE): ReserveCall {
  return {
    kind: "reserve",
    reservationId,
    minted: false,
    owner: ownerOfOrder(ORDER),
    lines: [{ ...tea, quantity }],
    expiry: { kind: "none" },
    idempotentById: true,
    validateOnly: false,
    replaces: ORDER,
  };
}

function answerOf(book: Book, call: ReserveCall | EndCall): string {
  const outcome = applyCall(book, call);
  if (!outcome.ok) return outcome.error instanceof DomainError ? outcome.error.reason : String(outcome.error);
  return outcome.value.kind === "reservation" ? outcome.value.reservation.state : outcome.value.kind;
}

const stateOf = (book: Book, id: string) => book.reservations.get(id)?.after.state;

function ledgerOf(book: Book): [string, string, number, number][] {
  return book.movements.map(({ type, cause, version, reservedAfter }) => [
    type,
    cause,
    version,
    reservedAfter,
  ]);
}

describe("the second reservation of an order, which is paid late", () => {
  const released: EndCall = { kind: "release", reservationId: ORDER, party: "order", orderId: ORDER };

  test("takes the last units, which the order still has; the release that comes then changes nothing", () => {
    const book = bookOf("ACTIVE");
    assert.equal(answerOf(book, lateCall()), "ACTIVE");
    const ledger = [
      ["RELEASE", ORDER, 3, 0],
      ["RESERVE", LATE, 4, 2],
    ];
    assert.deepEqual(ledgerOf(book), ledger);
    assert.equal(stateOf(book, ORDER), "RELEASED");
    assert.equal(answerOf(book, released), "RELEASED");
    assert.equal(answerOf(book, lateCall()), "ACTIVE");
    assert.deepEqual(ledgerOf(book), ledger);
  });

  test("leaves the order's own released when there is not enough for it", () => {
    const book = bookOf("ACTIVE");
    assert.equal(answerOf(book, lateCall(3)), "INSUFFICIENT_STOCK");
    assert.deepEqual(ledgerOf(book), [["RELEASE", ORDER, 3, 0]]);
    assert.deepEqual([stateOf(book, ORDER), stateOf(book, LATE)], ["RELEASED", undefined]);
  });

  test("leaves an own one that has ended, or never was, as it is", () => {
    for (const [state, answer] of [
      ["RELEASED", "ACTIVE"],
      ["COMMITTED", "INSUFFICIENT_STOCK"],
      [undefined, "ACTIVE"],
    ] as const) {
      const book = bookOf(state);
      assert.equal(answerOf(book, lateCall()), answer);
      assert.equal(stateOf(book, ORDER), state);
      assert.ok(book.movements.every(({ cause }) => cause === LATE));
    }
  });

  test("leaves what somebody else has under the order's id", () => {
    const book = bookOf("ACTIVE", "till-1");
    assert.equal(answerOf(book, lateCall()), "INSUFFICIENT_STOCK");
    assert.deepEqual([stateOf(book, ORDER), book.movements], ["ACTIVE", []]);
  });
});
