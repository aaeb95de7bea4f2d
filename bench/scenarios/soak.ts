import { ordering, skusOf } from "../calls.ts";
import { percentileMs } from "../figures/latency.ts";
import type { Ground } from "../ground.ts";
import { runClosedLoad, runOpenLoad } from "../load.ts";
import { residentMb } from "../machine.ts";
import type { Notes } from "../report.ts";
import { checkNoFailures, checkStock, layStock, reservedBy, succeeded } from "../stock.ts";
import { checkOrders, until } from "./orders.ts";
import { inTurn, MANY_SKUS } from "./reservations.ts";

const CALLERS = 64;
const SHARE_OF_CAPACITY = 0.5;
/** The quick form is only a try. */
const MINUTES = { full: 10, quick: 0.5 };
const SAMPLE_MS = 2_000;
const MINUTE_MS = 60_000;
const SERVICES = ["order-1", "inventory-1"] as const;

type Sample = { readonly atMs: number; readonly mb: number };

/** Ten minutes at half the load that the system can take: memory must not grow. */
export async function measureSoak(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("soak-", MANY_SKUS);
  await layStock(ground, skus);
  const json = await ground.gateway("json", CALLERS);
  const work = ordering(json, "json", inTurn(skus), { settled: true });
  const peak = await runClosedLoad({ callers: CALLERS, warmUpMs: 1_000, durationMs: 5_000, work });
  const minutes = ground.pace.quick ? MINUTES.quick : MINUTES.full;
  const durationMs = minutes * MINUTE_MS;
  const samples = new Map<string, Sample[]>(SERVICES.map((name) => [name, []]));
  const startedAt = performance.now();
  const sampling = setInterval(() => {
    const live = ground.stack.processes();
    for (const [name, taken] of samples) {
      const pid = live.get(name);
      if (pid !== undefined) taken.push({ atMs: performance.now() - startedAt, mb: residentMb(pid) });
    }
  }, SAMPLE_MS);
  const perSecond = peak.perSecond * SHARE_OF_CAPACITY;
  const load = await runOpenLoad({ perSecond, warmUpMs: 0, durationMs, work });
  clearInterval(sampling);
  await until(
    "all settled orders are committed",
    async () => (await reservedBy(ground.inventorySql, skus)) === 0,
  );

  notes.measure("created and settled over JSON", "orders/s", [load.perSecond]);
  notes.measure("p99 of both calls together", "ms", [percentileMs(load.latencies, 99)]);
  for (const [name, taken] of samples) {
    const mbs = taken.map(({ mb }) => mb);
    notes.goal(
      {
        name: `soak: resident memory of ${name}, most`,
        direction: "at most",
        must: 250,
        aim: 150,
        unit: "MB",
      },
      [Math.max(...mbs)],
    );
    const early = meanOf(taken, durationMs * 0.1, durationMs * 0.2);
    const late = meanOf(taken, durationMs * 0.9, durationMs);
    notes.goal(
      {
        name: `soak: growth of ${name} after the first minute`,
        direction: "at most",
        must: 5,
        aim: 5,
        unit: "%",
      },
      [(100 * (late - early)) / early],
    );
  }
  notes.chart("memory-soak", {
    title: `${minutes} minutes at half the load: resident memory`,
    xName: "minutes",
    yName: "MB",
    xScale: "linear",
    yScale: "linear",
    curves: [...samples].map(([name, taken]) => ({
      name,
      points: taken.map(({ atMs, mb }) => [atMs / MINUTE_MS, mb] as const),
    })),
  });
  checkNoFailures(notes, "orders", [peak, load]);
  await checkOrders(ground, notes, "SETTLED", skus, succeeded([peak, load]));
  await checkStock(ground, notes, "settled orders", skus, 0);
  json.client.close();
}

function meanOf(samples: readonly Sample[], fromMs: number, toMs: number): number {
  const within = samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  return within.reduce((sum, { mb }) => sum + mb, 0) / Math.max(within.length, 1);
}
