import { setTimeout as pause } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { databaseNow } from "#libs/db";
import { ordering, skusOf } from "../calls.ts";
import { percentileMs } from "../figures/latency.ts";
import { ratiosOf, spreadOf } from "../figures/spread.ts";
import type { Ground } from "../ground.ts";
import { layDueOrders } from "../laid.ts";
import { type Load, runOpenLoad, sumOutcomes } from "../load.ts";
import type { Notes } from "../report.ts";
import { checkNoFailures, checkStock, checkTakenOrRefused, layStock, REFUSED, reservedBy } from "../stock.ts";
import { checkOrders, checkPlaced } from "./orders.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const MUST_S = 60;
const GIVE_UP_S = 180;
const POLL_MS = 250;
const SECOND_MS = 1_000;
/** Well below what the system can take, as on most days. */
const ARRIVALS_PER_SECOND = 300;

/** New orders are looked at in parts of this length: a pause of the disk is in one or two of them. */
const PART_MS = 4_000;

/** Very many orders that fall due within one second, while new ones arrive. */
export async function measureExpiry(ground: Ground, notes: Notes): Promise<void> {
  const { quick } = ground.pace;
  const count = quick ? 10_000 : 100_000;
  const [due, fresh] = [skusOf("due-", MANY_SKUS), skusOf("new-", MANY_SKUS)];
  await layStock(ground, [...due, ...fresh]);
  const leadMs = quick ? 6_500 : 25_000;
  const now = (await databaseNow(ground.orderSql)).getTime();
  const dueBy = new Date(Math.ceil((now + leadMs) / SECOND_MS) * SECOND_MS);
  await layDueOrders(ground, { skus: due, count, dueBy });
  const last = await placeLast(ground, due[0] ?? "", dueBy);

  const target = await ground.directly("order", MANY_CALLERS);
  const work = ordering(target, "grpc", inTurn(fresh), { settled: false });
  const partMs = quick ? PART_MS / 4 : PART_MS;
  const arrivals = { perSecond: ARRIVALS_PER_SECOND, work, partMs };
  const quietMs = dueBy.getTime() - last - SECOND_MS;
  // In the first seconds the services gather statistics of what was laid down.
  const warmUpMs = quick ? SECOND_MS : 5 * SECOND_MS;
  if (quietMs < warmUpMs + 1_500) throw new Error("laying down the orders took too long");
  const before = await runOpenLoad({ ...arrivals, warmUpMs, durationMs: quietMs - warmUpMs });
  let releasedAt: number | undefined;
  const watched = watchReserved(ground, due, dueBy).then((time) => {
    releasedAt = time;
  });
  const meanwhile = await runOpenLoad({
    ...arrivals,
    warmUpMs: SECOND_MS,
    durationMs: GIVE_UP_S * SECOND_MS,
    isOver: () => releasedAt !== undefined,
  });
  await watched;

  const seconds = (releasedAt ?? 0) / SECOND_MS;
  notes.measure(`${count} orders expired and their stock released`, "s", [seconds]);
  // The quick form has a tenth of the orders, and a tenth of the time.
  const share = quick ? 0.1 : 1;
  notes.goal(
    {
      name: `expiry: ${count} orders of one second released`,
      direction: "at most",
      must: MUST_S * share,
      aim: 20 * share,
      unit: "s",
    },
    [seconds],
  );
  noteNewOrders(notes, { before, meanwhile, partMs });
  notes.measure("refused meanwhile", "calls", [sumOutcomes([meanwhile]).get(REFUSED) ?? 0]);
  checkNoFailures(notes, "new orders before", [before]);
  checkTakenOrRefused(notes, "new orders meanwhile", [meanwhile]);
  await checkOrders(ground, notes, "EXPIRED", due, count + 1);
  await checkStock(ground, notes, "expired orders", due, 0);
  const pending = await checkPlaced(ground, notes, "new orders", fresh, [before, meanwhile]);
  await checkStock(ground, notes, "new orders", fresh, pending);
  target.client.close();
}

type NewOrders = { readonly before: Load; readonly meanwhile: Load; readonly partMs: number };

function noteNewOrders(notes: Notes, { before, meanwhile, partMs }: NewOrders): void {
  const rate = `${ARRIVALS_PER_SECOND} new orders/s`;
  const quiet = p99OfParts(before, partMs);
  const busy = p99OfParts(meanwhile, partMs);
  const usual = spreadOf(quiet).median;
  notes.measure(`${rate} before: p99`, "ms", quiet);
  notes.measure(`${rate} meanwhile: p99`, "ms", busy);
  notes.measure(`${rate} before, all the time: p99`, "ms", [percentileMs(before.latencies, 99)]);
  notes.measure(`${rate} meanwhile, all the time: p99`, "ms", [percentileMs(meanwhile.latencies, 99)]);
  notes.goal(
    {
      name: "expiry: p99 of new orders, meanwhile / before",
      direction: "at most",
      must: 3,
      aim: 1.5,
      unit: "x",
    },
    ratiosOf(
      busy,
      busy.map(() => usual),
    ),
  );
}

// Of each whole part.
function p99OfParts({ parts, seconds }: Load, partMs: number): number[] {
  const whole = Math.max(1, Math.floor((seconds * SECOND_MS) / partMs));
  return parts.slice(0, whole).map((part) => percentileMs(part, 99));
}

// By the API, due within the same second, so that this second has its nudge. Returns the database's time.
async function placeLast(ground: Ground, sku: string, dueBy: Date): Promise<number> {
  const now = (await databaseNow(ground.orderSql)).getTime();
  const ttlMs = dueBy.getTime() - SECOND_MS / 2 - now;
  await ground.orders.createOrder({
    customerId: "customer-4711",
    lines: [{ sku, quantity: 1 }],
    ttl: durationFromMs(ttlMs),
  });
  return now;
}

// Resolves to how long after the second's end nothing of the skus was reserved any more.
async function watchReserved(ground: Ground, skus: readonly string[], dueBy: Date): Promise<number> {
  for (;;) {
    const sinceMs = (await databaseNow(ground.orderSql)).getTime() - dueBy.getTime();
    if (sinceMs > 0 && (await reservedBy(ground.inventorySql, skus)) === 0) return sinceMs;
    if (sinceMs > GIVE_UP_S * SECOND_MS) throw new Error(`not all stock is back after ${GIVE_UP_S} s`);
    await pause(POLL_MS);
  }
}
