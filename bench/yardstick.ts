/** How fast the machine is at this moment. */
import { createHash } from "node:crypto";
import { spreadOf } from "./figures/spread.ts";

/** Times that the work is done: what stands out is somebody else's. */
const TIMES = 3;
const block = Buffer.alloc(1_048_576, 5);
const HASHED_BLOCKS = 12;
const rows = Array.from({ length: 15_000 }, (_, number) => ({ number, name: `name-${number}` }));

/**
 * The processor time in milliseconds that a fixed piece of work takes just now: hashing, and writing and
 * reading JSON. By itself it says nothing; that of two moments says how far what was measured at them can be
 * compared. On a machine that is shared, others' work makes one's own dearer and not only later, since they
 * share a core and its caches.
 */
export function yardstickMs(): number {
  return spreadOf(Array.from({ length: TIMES }, timeOnce)).median;
}

function timeOnce(): number {
  const before = process.cpuUsage();
  const hash = createHash("sha256");
  for (let count = 0; count < HASHED_BLOCKS; count += 1) hash.update(block);
  hash.digest();
  JSON.parse(JSON.stringify(rows));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
