import { ordering, skusOf } from "../calls.ts";
import { mergeLatencies, percentileMs } from "../figures/latency.ts";
import { ratiosOf } from "../figures/spread.ts";
import type { Ground } from "../ground.ts";
import { type Load, runClosedLoad, runOpenLoad, sumOutcomes } from "../load.ts";
import type { Notes } from "../report.ts";
import { checkNoFailures, checkStock, checkTakenOrRefused, layStock, REFUSED } from "../stock.ts";
import { checkPlaced } from "./orders.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const TIMES_CAPACITY = 3;
/** Half a minute of it, in parts, each between two looks at what the system can take. */
const PARTS = { full: 5, quick: 1 };
const PART_MS = { full: 6_000, quick: 3_000 };
/** Of the first second a crowd is let in, which is answered within the next. */
const CROWD_MS = 2_000;
const PEAK = {
  full: { warmUpMs: 300, durationMs: 1_500 },
  quick: { warmUpMs: 200, durationMs: 800 },
};

/**
 * Three times the orders that the system can take: it must go on taking as many, and refuse the rest at once.
 * What it can take is measured before and after each part of the overload, since the machine is not as fast
 * in every second and the tables grow meanwhile.
 */
export async function measureOverload(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("ovl-", MANY_SKUS);
  await layStock(ground, skus);
  // A gateway has few connections to a service, so the arrivals have no more than the callers of the peak.
  const target = await ground.directly("order", MANY_CALLERS);
  const work = ordering(target, "grpc", inTurn(skus), { settled: false });
  const length = ground.pace.quick ? "quick" : "full";
  const measurePeak = () => runClosedLoad({ callers: MANY_CALLERS, ...PEAK[length], work });
  // The first one finds code that is not compiled yet.
  const first = await measurePeak();
  let peak = await measurePeak();
  const peaks = [peak];
  const loads: Load[] = [];
  const capacities: number[] = [];
  while (loads.length < PARTS[length]) {
    const before = peak.perSecond;
    const load = await runOpenLoad({
      perSecond: before * TIMES_CAPACITY,
      warmUpMs: CROWD_MS,
      durationMs: PART_MS[length],
      work,
    });
    peak = await measurePeak();
    loads.push(load);
    peaks.push(peak);
    capacities.push((before + peak.perSecond) / 2);
  }
  const rates = loads.map(({ perSecond }) => perSecond);
  const accepted = mergeLatencies(loads.map(({ latencies }) => latencies));
  const refused = mergeLatencies(loads.map(({ failureLatencies }) => failureLatencies));
  const outcomes = sumOutcomes(loads);
  notes.measure(
    "the most orders/s, 256 callers",
    "orders/s",
    peaks.map(({ perSecond }) => perSecond),
  );
  notes.measure(`orders/s of ${TIMES_CAPACITY} times as many arrivals`, "orders/s", rates);
  notes.measure("accepted, median", "ms", [percentileMs(accepted, 50)]);
  notes.measure("accepted, p99", "ms", [percentileMs(accepted, 99)]);
  notes.measure("refused", "calls", [outcomes.get(REFUSED) ?? 0]);
  notes.goal(
    { name: "overload: goodput / peak", direction: "at least", must: 0.9, aim: 0.95, unit: "x" },
    ratiosOf(rates, capacities),
  );
  notes.goal(
    { name: "overload: time to be refused, p99", direction: "at most", must: 50, aim: 50, unit: "ms" },
    [percentileMs(refused, 99)],
  );
  checkNoFailures(notes, "before and after the overload", [first, ...peaks]);
  checkTakenOrRefused(notes, "overload", loads);
  const pending = await checkPlaced(ground, notes, "overload", skus, [first, ...peaks, ...loads]);
  await checkStock(ground, notes, "overload", skus, pending);
  target.client.close();
}
