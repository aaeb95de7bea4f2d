import { ordering, skusOf } from "../calls.ts";
import { percentileMs } from "../figures/latency.ts";
import { spreadOf } from "../figures/spread.ts";
import type { Ground } from "../ground.ts";
import { type Load, runClosedLoad, runOpenLoad, sumOutcomes } from "../load.ts";
import type { Notes } from "../report.ts";
import { checkNoFailures, checkStock, checkTakenOrRefused, layStock, REFUSED } from "../stock.ts";
import { checkPlaced } from "./orders.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const TIMES_CAPACITY = 3;
const CAPACITY_ROUNDS = { full: 3, quick: 2 };
/** Enough connections that no peer's limit of streams holds an arrival back. */
const ARRIVALS_AT_ONCE = 1_024;

/**
 * Three times the orders that the system can take: it must go on taking as many, and refuse the rest at once.
 * What it can take is measured before and after, since the machine is not as fast in every minute and the
 * tables grow meanwhile.
 */
export async function measureOverload(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("ovl-", MANY_SKUS);
  await layStock(ground, skus);
  const target = await ground.directly("order", ARRIVALS_AT_ONCE);
  const work = ordering(target, "grpc", inTurn(skus), { settled: false });
  const measurePeaks = async () => {
    const loads: Load[] = [];
    const durationMs = ground.pace.quick ? 1_000 : 2_000;
    const rounds = ground.pace.quick ? CAPACITY_ROUNDS.quick : CAPACITY_ROUNDS.full;
    for (let round = 0; round < rounds; round += 1) {
      loads.push(await runClosedLoad({ callers: MANY_CALLERS, warmUpMs: 500, durationMs, work }));
    }
    return loads;
  };
  const before = await measurePeaks();
  const load = await runOpenLoad({
    perSecond: peakOf(before) * TIMES_CAPACITY,
    warmUpMs: 1_000,
    durationMs: ground.pace.quick ? 3_000 : 30_000,
    work,
  });
  const peaks = [...before, ...(await measurePeaks())];
  const peak = peakOf(peaks);
  const outcomes = sumOutcomes([load]);
  notes.measure(
    "the most orders/s, 256 callers",
    "orders/s",
    peaks.map(({ perSecond }) => perSecond),
  );
  notes.measure(`orders/s of ${TIMES_CAPACITY} times as many arrivals`, "orders/s", [load.perSecond]);
  notes.measure("accepted, median", "ms", [percentileMs(load.latencies, 50)]);
  notes.measure("accepted, p99", "ms", [percentileMs(load.latencies, 99)]);
  notes.measure("refused", "calls", [outcomes.get(REFUSED) ?? 0]);
  notes.goal({ name: "overload: goodput / peak", direction: "at least", must: 0.9, aim: 0.95, unit: "x" }, [
    load.perSecond / peak,
  ]);
  notes.goal(
    { name: "overload: time to be refused, p99", direction: "at most", must: 50, aim: 50, unit: "ms" },
    [percentileMs(load.failureLatencies, 99)],
  );
  checkNoFailures(notes, "before and after the overload", peaks);
  checkTakenOrRefused(notes, "overload", [load]);
  const pending = await checkPlaced(ground, notes, "overload", skus, [...peaks, load]);
  await checkStock(ground, notes, "overload", skus, pending);
  target.client.close();
}

function peakOf(loads: readonly Load[]): number {
  return spreadOf(loads.map(({ perSecond }) => perSecond)).median;
}
