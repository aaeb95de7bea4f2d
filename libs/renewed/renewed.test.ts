import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { RenewedMap, RenewedSet } from "./index.ts";

const KEYS = 100;
const steps = fc.array(
  fc.record({ key: fc.nat(KEYS - 1), isAdded: fc.boolean(), value: fc.nat() }),
  // Enough for several renewals.
  { minLength: 500, maxLength: 2_000 },
);

test("a renewed map holds what a Map holds, in its order", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const [renewed, plain] = [new RenewedMap<number, number>(), new Map<number, number>()];
      for (const { key, isAdded, value } of taken) {
        if (isAdded) {
          renewed.set(key, value);
          plain.set(key, value);
        } else {
          assert.equal(renewed.delete(key), plain.delete(key));
        }
        assert.equal(renewed.size, plain.size);
        assert.equal(renewed.get(key), plain.get(key));
      }
      assert.deepEqual([...renewed.entries()], [...plain]);
      assert.deepEqual([...renewed.values()], [...plain.values()]);
    }),
    { numRuns: 30 },
  );
});

test("a renewed set holds what a Set holds, in its order", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const [renewed, plain] = [new RenewedSet<number>(), new Set<number>()];
      for (const { key, isAdded } of taken) {
        if (isAdded) {
          renewed.add(key);
          plain.add(key);
        } else {
          assert.equal(renewed.delete(key), plain.delete(key));
        }
        assert.equal(renewed.size, plain.size);
        assert.equal(renewed.has(key), plain.has(key));
      }
      assert.deepEqual([...renewed], [...plain]);
    }),
    { numRuns: 30 },
  );
});

test("an entry that goes while entries are walked is not shown any more, also after a renewal", () => {
  const map = new RenewedMap<number, number>();
  const set = new RenewedSet<number>();
  for (let key = 0; key < KEYS; key += 1) {
    map.set(key, key);
    set.add(key);
  }
  const shown: number[] = [];
  for (const value of map.values()) {
    shown.push(value);
    for (let other = 1; other < KEYS - 1; other += 1) map.delete(other);
  }
  for (const value of set) {
    shown.push(value);
    for (let other = 1; other < KEYS - 1; other += 1) set.delete(other);
  }
  assert.deepEqual(shown, [0, KEYS - 1, 0, KEYS - 1]);
});

// If the Maps of V8 do as well one day, this fails, and the renewed ones can go.
test("what has gone from a renewed map is collected as young, and from a Map it is not", () => {
  const grownBytes = (kind: string): number => {
    const flags = ["--expose-gc", "--max-semi-space-size=1", "--no-allocation-site-pretenuring"];
    const child = spawnSync(process.execPath, [
      ...flags,
      join(import.meta.dirname, "churn.fixture.ts"),
      kind,
    ]);
    assert.equal(child.status, 0, child.stderr.toString());
    return Number(child.stdout.toString());
  };
  const [renewed, plain] = [grownBytes("renewed"), grownBytes("plain")];
  assert.ok(renewed * 10 < plain, `the old generation grew by ${renewed} and by ${plain} bytes`);
});
