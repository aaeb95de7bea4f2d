/**
 * `node --expose-gc churn.fixture.ts renewed|plain`: prints by how many bytes the old generation grew under
 * churn.
 */
import { getHeapSpaceStatistics } from "node:v8";
import { RenewedMap } from "./index.ts";

/** As with the calls under way of a busy service. */
const UNDER_WAY = 64;
/** Some 5 MB of entries: less than makes V8 collect the old generation. */
const CALLS = 5_000;
const WORDS = 128;

const map = process.argv[2] === "renewed" ? new RenewedMap<number, number[]>() : new Map<number, number[]>();

function churn(calls: number): void {
  for (let call = 0; call < calls; call += 1) {
    map.set(
      call,
      Array.from({ length: WORDS }, () => call),
    );
    map.delete(call - UNDER_WAY);
  }
}

function oldBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === "old_space")?.space_used_size ?? 0;
}

churn(UNDER_WAY);
// Whatever is there now is of the old generation.
globalThis.gc?.();
const before = oldBytes();
churn(CALLS);
process.stdout.write(`${Math.max(0, oldBytes() - before)}\n`);
