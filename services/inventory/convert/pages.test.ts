import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "#libs/reasons";
import { holderKeyOf, movementKeyOf, reservationKeyOf } from "./pages.ts";

const ID = "01890000-0000-7000-8000-000000000001";

test("the first page follows nothing", () => {
  for (const keyOf of [holderKeyOf, movementKeyOf, reservationKeyOf])
    assert.equal(keyOf(undefined), undefined);
});

test("a key is read from its parts", () => {
  assert.deepEqual(holderKeyOf(["main", ID]), { locationId: "main", reservationId: ID });
  assert.deepEqual(movementKeyOf(["5", "main", "7"]), { createTime: 5, locationId: "main", version: 7 });
  assert.deepEqual(reservationKeyOf(["5", ID]), { createTime: 5, reservationId: ID });
});

test("a key that was made up is refused by its field", () => {
  for (const work of [
    () => holderKeyOf(["main", "x"]),
    () => movementKeyOf(["soon", "main", "7"]),
    () => movementKeyOf(["5", "main", "1e400"]),
    () => reservationKeyOf(["-1", ID]),
    () => reservationKeyOf(["5", "x"]),
    // The year 33658.
    () => reservationKeyOf(["999999999999999", ID]),
    () => movementKeyOf(["999999999999999", "main", "7"]),
  ]) {
    assert.throws(
      work,
      (error) => error instanceof DomainError && error.data.fields?.[0]?.field === "page_token",
    );
  }
});
