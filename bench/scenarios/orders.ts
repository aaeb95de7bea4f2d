/** Orders: created and settled, through the gateway over JSON and gRPC, and directly at the service. */
import { setTimeout as pause } from "node:timers/promises";
import { type OrderShape, ordering, skusOf } from "../calls.ts";
import { percentileMs } from "../figures/latency.ts";
import { ratiosOf, spreadOf } from "../figures/spread.ts";
import type { Ground } from "../ground.ts";
import { type Load, runClosedLoad, runOpenLoad, sumOutcomes } from "../load.ts";
import { cpuTimesMs } from "../machine.ts";
import type { Notes } from "../report.ts";
import { loadsOf, ratesOf, runRounds } from "../rounds.ts";
import { checkNoFailures, checkStock, LATE, layStock, reservedBy, succeeded } from "../stock.ts";
import { committedTransactions, outboxesEmpty } from "../traces.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const CALLERS = 64;
const SETTLED: OrderShape = { settled: true };
const PLACED: OrderShape = { settled: false };
const DRAIN_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
/** Idle connections of Postgres tell what they have done after at most 10 s. */
const STATISTICS_DELAY_MS = 10_500;
/** In the full form placing takes twice the usual rounds: two ways that are nearly alike are told apart. */
const PLACING_TIMES_ROUNDS = 2;
const LOADS = [0.1, 0.25, 0.5, 0.75, 0.9];

/** The processes that an order costs; not the load generator. */
const PROCESSES = ["envoy", "order-1", "inventory-1", "postgres", "rabbitmq"];

/** The three ways in, with orders that are settled at once. */
export async function measureOrders(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("ord-", MANY_SKUS);
  await layStock(ground, skus);
  const draw = inTurn(skus);
  const [json, grpc, direct] = await Promise.all([
    ground.gateway("json", CALLERS),
    ground.gateway("grpc", CALLERS),
    ground.directly("order", CALLERS),
  ]);
  const settle = () =>
    until(
      "all settled orders are committed",
      async () => (await reservedBy(ground.inventorySql, skus)) === 0,
    );
  const rounds = await runRounds(ground.pace, [
    { name: "json", callers: CALLERS, work: ordering(json, "json", draw, SETTLED), settle },
    { name: "grpc", callers: CALLERS, work: ordering(grpc, "grpc", draw, SETTLED), settle },
    { name: "direct", callers: CALLERS, work: ordering(direct, "grpc", draw, SETTLED), settle },
  ]);
  notes.measure("created and settled, JSON through Envoy, 64 callers", "orders/s", ratesOf(rounds, "json"));
  notes.measure("created and settled, gRPC through Envoy, 64 callers", "orders/s", ratesOf(rounds, "grpc"));
  notes.measure(
    "created and settled, gRPC at the service, 64 callers",
    "orders/s",
    ratesOf(rounds, "direct"),
  );
  notes.goal(
    {
      name: "orders, JSON through Envoy / gRPC direct",
      direction: "at least",
      must: 0.5,
      aim: 0.7,
      unit: "x",
    },
    ratiosOf(ratesOf(rounds, "json"), ratesOf(rounds, "direct")),
  );
  const all = ["json", "grpc", "direct"].flatMap((name) => loadsOf(rounds, name));
  checkNoFailures(notes, "orders", all);
  await checkOrders(ground, notes, "SETTLED", skus, succeeded(all));
  await checkStock(ground, notes, "settled orders", skus, 0);
  for (const { client } of [json, grpc, direct]) client.close();
}

/**
 * Orders created over JSON: what one costs all processes together, and whether one sku is as good as a
 * thousand.
 */
export async function measurePlacing(ground: Ground, notes: Notes): Promise<void> {
  const [hot, spread] = [skusOf("plc-", 1), skusOf("plw-", MANY_SKUS)];
  await layStock(ground, [...hot, ...spread]);
  const json = await ground.gateway("json", CALLERS);
  const sides = [
    { name: "hot", work: ordering(json, "json", () => hot[0] ?? "", PLACED) },
    { name: "uniform", work: ordering(json, "json", inTurn(spread), PLACED) },
  ];
  const loads = { hot: [] as Load[], uniform: [] as Load[] };
  const costs: Map<string, number>[] = [];
  const rounds = ground.pace.quick ? ground.pace.rounds : PLACING_TIMES_ROUNDS * ground.pace.rounds;
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, work } of round % 2 === 0 ? sides : sides.toReversed()) {
      const before = cpuOf(ground);
      const { warmUpMs, sliceMs: durationMs } = ground.pace;
      const load = await runClosedLoad({ callers: CALLERS, warmUpMs, durationMs, work });
      await until("what was said is sent", () => outboxesEmpty(ground));
      loads[name === "hot" ? "hot" : "uniform"].push(load);
      costs.push(costOfOne(before, cpuOf(ground), succeeded([load])));
    }
  }
  const rates = (side: readonly Load[]) => side.map(({ perSecond }) => perSecond);
  notes.measure("created over JSON, one sku, 64 callers", "orders/s", rates(loads.hot));
  notes.measure("created over JSON, 1,000 skus, 64 callers", "orders/s", rates(loads.uniform));
  notes.goal(
    { name: "orders over JSON, hot / 1,000 skus", direction: "at least", must: 0.9, aim: 1, unit: "x" },
    ratiosOf(rates(loads.hot), rates(loads.uniform)),
  );
  for (const name of PROCESSES) {
    notes.measure(
      `processor time of an order: ${name}`,
      "ms",
      costs.map((cost) => cost.get(name) ?? 0),
    );
  }
  notes.goal(
    {
      name: "processor time of an order over JSON, all processes",
      direction: "at most",
      must: 1,
      aim: 0.5,
      unit: "ms",
    },
    costs.map((cost) => [...cost.values()].reduce((sum, time) => sum + time, 0)),
  );
  if (!ground.pace.quick)
    await drawLatencies(ground, notes, inTurn(spread), spreadOf(rates(loads.uniform)).median, loads.uniform);
  checkNoFailures(notes, "orders", [...loads.hot, ...loads.uniform]);
  await checkOrders(
    ground,
    notes,
    "PENDING",
    [...hot, ...spread],
    succeeded([...loads.hot, ...loads.uniform]),
  );
  await checkStock(ground, notes, "one sku", hot, succeeded(loads.hot));
  await checkStock(ground, notes, "1,000 skus", spread, succeeded(loads.uniform));
  json.client.close();
}

/** Transactions that both databases commit for an order that is created and settled, with many callers. */
export async function measureTransactions(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("txn-", MANY_SKUS);
  await layStock(ground, skus);
  const target = await ground.directly("order", MANY_CALLERS);
  await pause(STATISTICS_DELAY_MS);
  const before = await committedTransactions(ground);
  const durationMs = ground.pace.quick ? 2_000 : 6_000;
  const work = ordering(target, "grpc", inTurn(skus), SETTLED);
  const load = await runClosedLoad({ callers: MANY_CALLERS, warmUpMs: 0, durationMs, work });
  // Rarely asked, since each question is a transaction too.
  while ((await reservedBy(ground.inventorySql, skus)) > 0) await pause(1_000);
  await pause(STATISTICS_DELAY_MS);
  const transactions = (await committedTransactions(ground)) - before;
  const orders = succeeded([load]);
  notes.measure("created and settled, gRPC at the service, 256 callers", "orders/s", [load.perSecond]);
  notes.goal(
    {
      name: "transactions for an order created and settled, 256 callers",
      direction: "at most",
      must: 0.2,
      aim: 0.05,
      unit: "",
    },
    [transactions / orders],
  );
  checkNoFailures(notes, "orders", [load]);
  await checkOrders(ground, notes, "SETTLED", skus, orders);
  await checkStock(ground, notes, "settled orders", skus, 0);
  target.client.close();
}

/** Checks that as many orders of these skus are in a state as callers were told. */
export async function checkOrders(
  ground: Ground,
  notes: Notes,
  state: string,
  skus: readonly string[],
  expected: number,
): Promise<void> {
  const [found, all] = [await countOrders(ground, skus, state), await countOrders(ground, skus)];
  const detail = `${expected} answered, ${found} ${state}, ${all - found} otherwise`;
  notes.check(`orders ${state}`, found === expected && all === found, detail);
}

/**
 * Checks that the orders of these skus are those that callers were told of, and returns how many are PENDING.
 * A call whose deadline passed may have taken effect, which is what its caller was told, so there may be as
 * many more.
 */
export async function checkPlaced(
  ground: Ground,
  notes: Notes,
  what: string,
  skus: readonly string[],
  loads: readonly Load[],
): Promise<number> {
  await until("what was begun is ended", async () => (await countOrders(ground, skus, "RESERVING")) === 0);
  const pending = await countOrders(ground, skus, "PENDING");
  const placed = succeeded(loads);
  const late = sumOutcomes(loads).get(LATE) ?? 0;
  const detail = `${placed} told to callers, ${late} too late to tell, ${pending} PENDING`;
  notes.check(`${what}: orders PENDING`, pending >= placed && pending <= placed + late, detail);
  return pending;
}

/** How many orders of these skus are in a state, or in any. */
export async function countOrders(ground: Ground, skus: readonly string[], state = ""): Promise<number> {
  const [row] = await ground.orderSql<{ found: bigint }[]>`
    select count(*) as found
    from order_lines as line
    join orders on orders.tenant_id = line.tenant_id and orders.order_id = line.order_id
    where line.tenant_id = 'demo'
      and line.sku = any(${skus}::text[])
      and ${state} in ('', orders.state)`;
  return Number(row?.found);
}

/** Waits until something is so. */
export async function until(
  what: string,
  isSo: () => Promise<boolean>,
  timeoutMs = DRAIN_TIMEOUT_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs / 1_000} s: ${what}`);
    await pause(POLL_MS);
  }
}

function cpuOf(ground: Ground): Map<string, number> {
  const live = ground.stack.processes();
  return cpuTimesMs(new Map(PROCESSES.map((name) => [name, live.get(name) ?? 0])));
}

function costOfOne(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>, orders: number) {
  return new Map([...after].map(([name, time]) => [name, (time - (before.get(name) ?? 0)) / orders]));
}

async function drawLatencies(
  ground: Ground,
  notes: Notes,
  draw: () => string,
  capacity: number,
  known: Load[],
): Promise<void> {
  const json = await ground.gateway("json", MANY_CALLERS);
  const work = ordering(json, "json", draw, PLACED);
  const points: { rate: number; p50: number; p99: number }[] = [];
  for (const share of LOADS) {
    const rate = capacity * share;
    const load = await runOpenLoad({ perSecond: rate, warmUpMs: 500, durationMs: 2_000, work });
    known.push(load);
    points.push({ rate, p50: percentileMs(load.latencies, 50), p99: percentileMs(load.latencies, 99) });
    const name = `latency at ${Math.round(share * 100)} % of the load, JSON through Envoy`;
    notes.measure(`${name}, median`, "ms", [percentileMs(load.latencies, 50)]);
    notes.measure(`${name}, p99`, "ms", [percentileMs(load.latencies, 99)]);
  }
  notes.chart("latency-orders", {
    title: "Orders over JSON through Envoy: latency against load",
    xName: "orders/s that arrive",
    yName: "ms",
    xScale: "linear",
    yScale: "log",
    curves: [
      { name: "median", points: points.map(({ rate, p50 }) => [rate, p50]) },
      { name: "99 of 100 are faster", points: points.map(({ rate, p99 }) => [rate, p99]) },
    ],
  });
  json.client.close();
}
