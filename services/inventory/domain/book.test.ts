import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DomainError } from "#libs/reasons";
import { applyCall } from "./apply.ts";
import { type Book, openBook } from "./book.ts";
import type { ReserveCall, StockCall, StockOutcome } from "./calls.ts";
import type { Reservation } from "./reservation.ts";
import { type Absence, type Level, placeKey } from "./stock.ts";

const NOW = Date.UTC(2026, 0);
const idOf = (number: number) => `01890000-0000-7000-8000-${String(number).padStart(12, "0")}`;

function levelOf(sku: string, onHand: number, fields: Partial<Level> = {}): Level {
  return {
    sku,
    locationId: "main",
    onHand,
    reserved: 0,
    version: 0,
    archived: false,
    reorderPoint: 0,
    updateTime: 0,
    ...fields,
  };
}

function bookOf(levels: (Level | ({ sku: string } & Absence))[], reservations: Reservation[] = []): Book {
  const entries = levels.map((level) => [placeKey({ locationId: "main", ...level }), level] as const);
  return openBook({ now: NOW, levels: new Map(entries), requests: new Map(), reservations });
}

function reserveCall(
  number: number,
  lines: Record<string, number>,
  fields: Partial<ReserveCall> = {},
): ReserveCall {
  return {
    kind: "reserve",
    reservationId: idOf(number),
    minted: false,
    owner: "till-1",
    lines: Object.entries(lines).map(([sku, quantity]) => ({ sku, locationId: "main", quantity })),
    expiry: { kind: "ttl", ttlMs: 60_000 },
    idempotentById: false,
    validateOnly: false,
    ...fields,
  };
}

function orderCall(number: number, lines: Record<string, number>): ReserveCall {
  return reserveCall(number, lines, {
    owner: `orders/${idOf(number)}`,
    expiry: { kind: "none" },
    idempotentById: true,
  });
}

/** The order of this number has expired and is paid late. */
function lateCall(number: number, lines: Record<string, number>): ReserveCall {
  return { ...orderCall(number, lines), reservationId: idOf(number + 8), replaces: idOf(number) };
}

function adjustCall(sku: string, delta: number, expectedOnHand?: number): StockCall {
  const expected = expectedOnHand === undefined ? {} : { expectedOnHand };
  const changes = [{ sku, locationId: "main", delta, ...expected }];
  return { kind: "adjust", adjustmentId: idOf(999), changes, reason: "count", reference: "" };
}

function reasonOf(outcome: StockOutcome): string {
  if (outcome.ok) return "OK";
  return outcome.error instanceof DomainError ? outcome.error.reason : String(outcome.error);
}

function stateOf(outcome: StockOutcome): string {
  return outcome.ok && outcome.value.kind === "reservation"
    ? outcome.value.reservation.state
    : reasonOf(outcome);
}

function dataOf(outcome: StockOutcome) {
  return !outcome.ok && outcome.error instanceof DomainError ? outcome.error.data : {};
}

describe("reserving", () => {
  test("a large call that fails does not starve a small one behind it", () => {
    const book = bookOf([levelOf("tea", 5)]);
    const outcomes = [3, 4, 2].map((quantity, at) => applyCall(book, reserveCall(at, { tea: quantity })));
    assert.deepEqual(outcomes.map(reasonOf), ["OK", "INSUFFICIENT_STOCK", "OK"]);
    assert.deepEqual(
      book.movements.map(({ version, reservedAfter }) => [version, reservedAfter]),
      [
        [1, 3],
        [2, 5],
      ],
    );
  });

  test("all lines or none, and every short line is told", () => {
    const book = bookOf([levelOf("tea", 5), levelOf("rum", 1), levelOf("jam", 0)]);
    const outcome = applyCall(book, reserveCall(1, { tea: 2, rum: 3, jam: 1 }));
    assert.equal(reasonOf(outcome), "INSUFFICIENT_STOCK");
    assert.deepEqual(dataOf(outcome).shortages, [
      { sku: "jam", locationId: "main", requested: 1, available: 0 },
      { sku: "rum", locationId: "main", requested: 3, available: 1 },
    ]);
    assert.deepEqual(book.movements, []);
  });

  test("lines of one item are summed before they are judged", () => {
    const book = bookOf([levelOf("tea", 5)]);
    const lines = [3, 3].map((quantity) => ({ sku: "tea", locationId: "main", quantity }));
    const outcome = applyCall(book, reserveCall(1, {}, { lines }));
    assert.deepEqual(
      dataOf(outcome).shortages?.map((short) => short.requested),
      [6],
    );
  });

  test("an unknown item, an unknown location and an archived item are told by their field", () => {
    const lines = { tea: 1, rum: 1 };
    const cases = [
      [{ absent: "ITEM", archived: false }, "ITEM_NOT_FOUND", "lines[1].sku"],
      [{ absent: "LOCATION", archived: false }, "LOCATION_NOT_FOUND", "lines[1].location_id"],
      [{ absent: "LEVEL", archived: true }, "ITEM_ARCHIVED", "lines[1].sku"],
      [levelOf("rum", 5, { archived: true }), "ITEM_ARCHIVED", "lines[1].sku"],
    ] as const;
    for (const [place, reason, field] of cases) {
      const outcome = applyCall(bookOf([levelOf("tea", 5), { sku: "rum", ...place }]), reserveCall(1, lines));
      assert.equal(reasonOf(outcome), reason);
      assert.equal(dataOf(outcome).fields?.[0]?.field, field);
    }
  });

  test("an item that never had stock is short of all", () => {
    const book = bookOf([{ sku: "tea", absent: "LEVEL", archived: false }]);
    assert.equal(reasonOf(applyCall(book, reserveCall(1, { tea: 1 }))), "INSUFFICIENT_STOCK");
  });

  test("a validation changes nothing", () => {
    const book = bookOf([levelOf("tea", 5)]);
    const outcome = applyCall(book, reserveCall(1, { tea: 5 }, { validateOnly: true }));
    assert.equal(stateOf(outcome), "ACTIVE");
    assert.deepEqual([book.movements, [...book.reservations]], [[], []]);
  });

  test("an order's reservation made again is answered as it is; a taken id is refused", () => {
    const book = bookOf([levelOf("tea", 5)]);
    const states = [orderCall(1, { tea: 1 }), orderCall(1, { tea: 4 }), reserveCall(1, { tea: 1 })];
    assert.deepEqual(
      states.map((call) => stateOf(applyCall(book, call))),
      ["ACTIVE", "ACTIVE", "RESERVATION_EXISTS"],
    );
    applyCall(book, reserveCall(2, { tea: 1 }));
    assert.equal(stateOf(applyCall(book, orderCall(2, { tea: 1 }))), "RESERVATION_EXISTS");
    assert.equal(book.movements.length, 2);
  });

  test("a moment to expire at lies 1 s to 30 days away", () => {
    const at = (ms: number) =>
      reserveCall(1, { tea: 1 }, { expiry: { kind: "moment", expireTime: NOW + ms } });
    const reasons = [999, 1_000, 30 * 86_400_000, 30 * 86_400_000 + 1].map((ms) =>
      reasonOf(applyCall(bookOf([levelOf("tea", 5)]), at(ms))),
    );
    assert.deepEqual(reasons, ["INVALID_FIELD", "OK", "OK", "INVALID_FIELD"]);
  });
});

describe("ending", () => {
  test("a commit takes units away, a release gives them back", () => {
    const book = bookOf([levelOf("tea", 5)]);
    for (const number of [1, 2]) applyCall(book, reserveCall(number, { tea: 2 }));
    applyCall(book, { kind: "commit", reservationId: idOf(1), party: "caller" });
    applyCall(book, { kind: "release", reservationId: idOf(2), party: "caller" });
    assert.deepEqual(
      book.movements.map(({ type, onHandAfter, reservedAfter }) => [type, onHandAfter, reservedAfter]),
      [
        ["RESERVE", 5, 2],
        ["RESERVE", 5, 4],
        ["COMMIT", 3, 2],
        ["RELEASE", 3, 0],
      ],
    );
  });

  test("a release before its reservation leaves a tombstone; the late create takes nothing", () => {
    const book = bookOf([levelOf("tea", 5)]);
    applyCall(book, { kind: "release", reservationId: idOf(1), party: "order" });
    assert.equal(stateOf(applyCall(book, orderCall(1, { tea: 1 }))), "RELEASED");
    assert.deepEqual(book.movements, []);
  });

  test("a commit of what was never reserved, and a caller's release of it, are refused", () => {
    for (const call of [
      { kind: "commit", party: "order" },
      { kind: "commit", party: "caller" },
      { kind: "release", party: "caller" },
    ] as const) {
      assert.equal(
        reasonOf(applyCall(bookOf([]), { ...call, reservationId: idOf(1) })),
        "RESERVATION_NOT_FOUND",
      );
    }
  });

  const due = (): Reservation => ({
    reservationId: idOf(1),
    state: "ACTIVE",
    owner: "till-1",
    lines: [{ sku: "tea", locationId: "main", quantity: 2 }],
    createTime: NOW - 100,
    expireTime: NOW,
  });

  test("who touches a reservation past its time is told, and it is expired on the spot", () => {
    for (const kind of ["commit", "release", "extend"] as const) {
      const book = bookOf([levelOf("tea", 5, { reserved: 2, version: 1 })], [due()]);
      const call: StockCall =
        kind === "extend"
          ? { kind, reservationId: idOf(1), ttlMs: 5_000 }
          : { kind, reservationId: idOf(1), party: "caller" };
      assert.equal(reasonOf(applyCall(book, call)), "RESERVATION_EXPIRED");
      assert.deepEqual(
        book.movements.map((movement) => movement.type),
        ["EXPIRE"],
      );
      assert.deepEqual(
        book.events.map((event) => event.type === "ReservationExpired" && event.trigger),
        ["touch"],
      );
    }
  });

  test("time expires what is due, once, and leaves what was given more time", () => {
    const expire: StockCall = { kind: "expire", reservationId: idOf(1), trigger: "nudge" };
    const book = bookOf([levelOf("tea", 5, { reserved: 2, version: 1 })], [due()]);
    assert.deepEqual(
      [expire, expire].map((call) => stateOf(applyCall(book, call))),
      ["EXPIRED", "EXPIRED"],
    );
    assert.equal(book.movements.length, 1);
    const extended = bookOf([levelOf("tea", 5, { reserved: 2 })], [{ ...due(), expireTime: NOW + 1 }]);
    assert.equal(stateOf(applyCall(extended, expire)), "ACTIVE");
    assert.deepEqual(extended.movements, []);
  });
});

describe("adjusting", () => {
  test("never below what is reserved, above the most, or past what was expected", () => {
    const level = levelOf("tea", 10, { reserved: 4 });
    const cases: [number, number | undefined, string][] = [
      [-6, undefined, "OK"],
      [-7, undefined, "STOCK_RESERVED"],
      [-6, 10, "OK"],
      [5, 9, "STALE_QUANTITY"],
      [1_000_000_000 - 10, undefined, "OK"],
      [1_000_000_000 - 9, undefined, "INVALID_FIELD"],
    ];
    for (const [delta, expected, reason] of cases) {
      assert.equal(reasonOf(applyCall(bookOf([level]), adjustCall("tea", delta, expected))), reason);
    }
  });

  test("an archived item receives nothing, but can be taken away", () => {
    const book = bookOf([levelOf("tea", 10, { archived: true })]);
    const reasons = [1, -1].map((delta) => reasonOf(applyCall(book, adjustCall("tea", delta))));
    assert.deepEqual(reasons, ["ITEM_ARCHIVED", "OK"]);
  });

  test("the same place twice in one adjustment is refused", () => {
    const change = { sku: "tea", locationId: "main", delta: 1 };
    const call: StockCall = {
      kind: "adjust",
      adjustmentId: idOf(1),
      changes: [change, change],
      reason: "",
      reference: "",
    };
    const outcome = applyCall(bookOf([levelOf("tea", 1)]), call);
    assert.equal(dataOf(outcome).fields?.[0]?.field, "changes[1]");
  });
});

test("times never run backwards along a chain, and a clock that was set back expires nothing early", () => {
  const level = levelOf("tea", 5, { reserved: 1, version: 1, updateTime: NOW + 500 });
  const live: Reservation = {
    reservationId: idOf(1),
    state: "ACTIVE",
    owner: "till-1",
    lines: [{ sku: "tea", locationId: "main", quantity: 1 }],
    createTime: NOW,
    expireTime: NOW + 100,
  };
  const book = bookOf([level], [live]);
  assert.equal(
    stateOf(applyCall(book, { kind: "expire", reservationId: idOf(1), trigger: "nudge" })),
    "ACTIVE",
  );
  applyCall(book, reserveCall(2, { tea: 1 }));
  assert.deepEqual(
    book.movements.map((movement) => movement.createTime),
    [NOW + 500],
  );
});

test("the reorder point is told when it is crossed, in both directions, by the movement that did it", () => {
  const book = bookOf([levelOf("tea", 10, { reorderPoint: 5 })]);
  applyCall(book, reserveCall(1, { tea: 4 }));
  applyCall(book, reserveCall(2, { tea: 1 }));
  applyCall(book, reserveCall(3, { tea: 1 }));
  applyCall(book, adjustCall("tea", 2));
  const told = book.events.map((event) => "version" in event && [event.type, event.available, event.version]);
  assert.deepEqual(told, [
    ["StockRanLow", 5, 2],
    ["StockReplenished", 6, 4],
  ]);
});

test("a request made again is answered again; another under its id is refused", () => {
  const book = bookOf([levelOf("tea", 5)]);
  const request = { requestId: idOf(7), hash: "a" };
  const first = applyCall(book, reserveCall(1, { tea: 1 }, { request }));
  const second = applyCall(book, reserveCall(2, { tea: 1 }, { request }));
  const other = applyCall(book, reserveCall(3, { tea: 1 }, { request: { ...request, hash: "b" } }));
  assert.ok(
    first.ok && second.ok && first.value.kind === "reservation" && second.value.kind === "reservation",
  );
  assert.equal(second.value.reservation.reservationId, first.value.reservation.reservationId);
  assert.equal(reasonOf(other), "REQUEST_ID_REUSED");
  assert.equal(book.movements.length, 1);
});

test("any calls keep 0 <= reserved <= on_hand, an unbroken chain, and reserved = live lines", () => {
  const skus = ["a", "b", "c"];
  const id = fc.integer({ min: 1, max: 8 });
  const lines = fc.dictionary(fc.constantFrom(...skus), fc.integer({ min: 1, max: 6 }), { minKeys: 1 });
  const call: fc.Arbitrary<StockCall> = fc.oneof(
    fc.tuple(id, lines).map(([number, wanted]) => orderCall(number, wanted)),
    fc.tuple(id, lines).map(([number, wanted]) => reserveCall(number, wanted)),
    fc.tuple(id, lines).map(([number, wanted]) => lateCall(number, wanted)),
    fc
      .tuple(
        fc.constantFrom("commit" as const, "release" as const),
        id,
        fc.constantFrom("caller" as const, "order" as const),
      )
      .map(([kind, number, party]) => ({ kind, reservationId: idOf(number), party })),
    id.map((number): StockCall => ({ kind: "extend", reservationId: idOf(number), ttlMs: 5_000 })),
    id.map((number): StockCall => ({ kind: "expire", reservationId: idOf(number), trigger: "sweeper" })),
    fc
      .tuple(fc.constantFrom(...skus), fc.integer({ min: -5, max: 5 }))
      .map(([sku, delta]) => adjustCall(sku, delta)),
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
      const book = bookOf(skus.map((sku) => levelOf(sku, 10)));
      for (const one of calls) {
        const movedBefore = book.movements.length;
        const replaced = one.kind === "reserve" ? one.replaces : undefined;
        const outcome = applyCall(book, one);
        if (!outcome.ok) {
          assert.ok(outcome.error instanceof DomainError, String(outcome.error));
          const moved = book.movements.slice(movedBefore);
          const isKept = moved.every(({ type, cause }) => type === "RELEASE" && cause === replaced);
          assert.ok(isKept, "a refusal moved stock");
        }
        const own = replaced === undefined ? undefined : book.reservations.get(replaced)?.after;
        assert.ok(own?.state !== "ACTIVE" || own.owner === "till-1", "an expired order kept its stock");
      }
      for (const sku of skus) {
        const level = book.levels.get(`${sku}/main`);
        assert.ok(level && !("absent" in level));
        assert.ok(level.reserved >= 0 && level.reserved <= level.onHand);
        let reserved = 0;
        for (const { after } of book.reservations.values()) {
          if (after.state !== "ACTIVE") continue;
          for (const line of after.lines) if (line.sku === sku) reserved += line.quantity;
        }
        assert.equal(level.reserved, reserved);
        const chain = book.movements.filter((movement) => movement.sku === sku);
        assert.deepEqual(
          chain.map((movement) => movement.version),
          chain.map((_, at) => at + 1),
        );
        assert.equal(level.version, chain.length);
        assert.equal(level.onHand, 10 + chain.reduce((sum, movement) => sum + movement.onHandDelta, 0));
      }
    }),
    { numRuns: 500 },
  );
});
