/** A disk that is full. */
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "#libs/db";
import { namesAndPids } from "./process-faults.ts";
import { whyNoSmallDisk } from "./small-disk.ts";
import type { System } from "./system.ts";
import type { Fault } from "./trial.ts";

const NO_SPACE = /No space left on device/g;
const PANIC = /PANIC: .*\n/g;
const HAPPENS_WITHIN_MS = 60_000;
const POLL_MS = 100;

/**
 * The disk with all of Postgres' data is full. Tables that can't grow refuse statements; a log that can't
 * grow ends the server, which can't start again either. An operator makes room and has nothing else to do.
 */
export const fullDisk: Fault = {
  name: "disk of Postgres full",
  times: { long: 10 },
  mayFail: true,
  system: { hasSmallDisk: true },
  impossible: whyNoSmallDisk,
  inject: async ({ system, load, chance, show, note }) => {
    const { smallDisk } = system;
    if (!smallDisk) throw new Error("the data of Postgres is on no small disk");
    const services = namesAndPids(system);
    const logged = system.logOf("postgres").length;
    const count = (pattern: RegExp) => [...system.logOf("postgres").slice(logged).matchAll(pattern)].length;
    const isLogFull = chance.next() < 0.5;
    const fullAt = performance.now();
    try {
      const deadline = fullAt + HAPPENS_WITHIN_MS;
      while (count(isLogFull ? PANIC : NO_SPACE) === 0 && performance.now() < deadline) {
        smallDisk.fill();
        // The load alone would take a minute to fill a segment of the log.
        if (isLogFull) await switchLog(system);
        await pause(POLL_MS);
      }
      await pause(chance.between(500, 3_000));
    } finally {
      smallDisk.free();
    }
    const [refusals, ends] = [count(NO_SPACE), count(PANIC)];
    show("Postgres had no space", refusals > 0);
    if (isLogFull) show("Postgres could not write its log", ends > 0);
    await system.stack.ready("postgres");
    const seconds = ((performance.now() - fullAt) / 1_000).toFixed(1);
    note(`"No space left on device" ${refusals} times, ended by it ${ends} times; back after ${seconds} s`);
    await load.more(10);
    show("the services recovered without a restart", namesAndPids(system) === services);
    const inner = load.purchases.filter(
      ({ placing, ending }) => placing === "INTERNAL_ERROR" || ending?.answer === "INTERNAL_ERROR",
    );
    show("every error was one that callers may repeat", inner.length === 0);
  },
};

// It fails while the server is away, which is what it is for.
async function switchLog({ stack }: System): Promise<void> {
  const sql = connect({ url: stack.env["ADMIN_DATABASE_URL"] ?? "", name: "faults", max: 1 });
  try {
    // An empty segment would not be left.
    await sql`select pg_logical_emit_message(false, 'faults', 'full')`;
    await sql`select pg_switch_wal()`;
  } catch {
    await pause(POLL_MS);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
