/** How many calls Order makes at Inventory for those that it wants to make, while Inventory is ill. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { audit } from "../ops/audit/system.ts";
import { createTally, noteFailure, type Tally } from "./calls.ts";
import type { GateWeather } from "./gate.ts";
import type { Result } from "./scenarios.ts";
import { receiveItems, type System } from "./system.ts";

/** Orders at once, and the pause of each customer after an answer: some 400 orders a second. */
const CUSTOMERS = 16;
const PAUSE_MS = 20;
const ITEMS = 8;
const UNITS = 1_000_000;
const LONG_TTL = { seconds: 3_600n };
/** More calls than this for each that was wanted, and an outage is answered by a storm. */
const LIMIT = 1.1;
/** The limit holds from 200 calls an instance on, for what it has saved up (libs/rpc/budget.ts). */
const LEAST_WANTED = 500;
const RECOVERY_TIMEOUT_MS = 90_000;
const PHASE_TIMEOUT_MS = 300_000;

type Phase = {
  readonly name: string;
  readonly weather: GateWeather | undefined;
  /**
   * Least calls a wanted one: what shows that repetitions were made and counted at all. None where the
   * circuit may open, since what it refuses is wanted and not made.
   */
  readonly least: number;
};

const phases: readonly Phase[] = [
  { name: "well", weather: undefined, least: 1 },
  { name: "away, every call is answered UNAVAILABLE", weather: { kind: "unavailable", share: 1 }, least: 0 },
  { name: "away, every connection breaks", weather: { kind: "reset", share: 1 }, least: 0 },
  { name: "a fifth is answered UNAVAILABLE", weather: { kind: "unavailable", share: 0.2 }, least: 1.02 },
  { name: "a fifth breaks its connection", weather: { kind: "reset", share: 0.2 }, least: 0 },
];

/**
 * Counts at gates before Inventory's instances, for so many seconds or more of each illness, the requests
 * that come, and compares them with the batches that Order's instances wanted to send, by their own metrics.
 */
export async function measureAmplification(system: System, seconds: number): Promise<Result> {
  const tally = createTally();
  const skus = await receiveItems(system, ITEMS, UNITS);
  const { gates } = system.wiring;
  if (gates.length === 0) throw new Error("the system has no gates before Inventory");
  const count = (of: "requests" | "refused") => gates.reduce((sum, gate) => sum + gate[of](), 0);
  const notes: string[] = [];
  let wantedInAll = 0;
  for (const { name, weather, least } of phases) {
    await untilWell(system, skus);
    const before = { wanted: await countWanted(system), made: count("requests"), refused: count("refused") };
    for (const gate of gates) gate.setWeather(weather);
    let wanted = 0;
    const deadline = performance.now() + PHASE_TIMEOUT_MS;
    do {
      if (performance.now() > deadline) throw new Error(`${name}: only ${wanted} calls were wanted`);
      await place(system, tally, skus, seconds * 1_000);
      wanted = (await countWanted(system)) - before.wanted;
    } while (wanted < LEAST_WANTED);
    for (const gate of gates) gate.setWeather(undefined);
    const made = count("requests") - before.made;
    const refused = count("refused") - before.refused;
    const ratio = made / wanted;
    wantedInAll += wanted;
    notes.push(
      `${name}: ${wanted} wanted, ${made} made, ${refused} refused; ${ratio.toFixed(3)} of what was wanted`,
    );
    if (weather && refused === 0) throw new Error(`${name}: no call was refused`);
    if (ratio > LIMIT || ratio < least)
      throw new Error(`calls at Inventory out of bounds: ${notes.join("; ")}`);
  }
  await untilNoneReserving(system);
  const findings = await audit(system.addresses);
  if (findings.length > 0) throw new Error(`the audit found ${JSON.stringify(findings.slice(0, 5))}`);
  return { scenario: "calls at an Inventory that is away or ill", done: wantedInAll, tally, notes };
}

async function place(system: System, tally: Tally, skus: readonly string[], forMs: number): Promise<void> {
  const until = performance.now() + forMs;
  const customer = async (number: number) => {
    while (performance.now() < until) {
      tally.calls += 1;
      await system.orders
        .createOrder(orderOf(skus, number))
        .catch((error: unknown) => noteFailure(tally, error));
      await pause(PAUSE_MS * (0.5 + Math.random()));
    }
  };
  await Promise.all(Array.from({ length: CUSTOMERS }, (_, number) => customer(number)));
}

function orderOf(skus: readonly string[], number: number) {
  const sku = skus[number % skus.length] ?? "";
  return { requestId: randomUUID(), customerId: "a buyer", ttl: LONG_TTL, lines: [{ sku, quantity: 1 }] };
}

// Both instances of Order take calls again: their circuits are closed after this many answers in a row.
async function untilWell(system: System, skus: readonly string[]): Promise<void> {
  const deadline = performance.now() + RECOVERY_TIMEOUT_MS;
  for (let inARow = 0; inARow < CUSTOMERS; ) {
    if (performance.now() > deadline) throw new Error("orders are not taken again");
    const answer = await system.orders.createOrder(orderOf(skus, inARow)).catch(() => undefined);
    inARow = answer ? inARow + 1 : 0;
    if (!answer) await pause(PAUSE_MS);
  }
}

// Orders whose reservation nobody answered are given up after half a minute.
async function untilNoneReserving({ orderDatabase: sql }: System): Promise<void> {
  const deadline = performance.now() + RECOVERY_TIMEOUT_MS;
  for (;;) {
    const rows = await sql`select 1 from orders where tenant_id = 'demo' and state = 'RESERVING' limit 1`;
    if (rows.length === 0) return;
    if (performance.now() > deadline) throw new Error("there are orders whose reservation nobody answered");
    await pause(500);
  }
}

/** Batches that Order's instances have wanted to send to Inventory. */
async function countWanted({ stack }: System): Promise<number> {
  const urls = (stack.env["ORDER_OPS_URLS"] ?? "").split(",");
  const counts = await Promise.all(
    urls.map(async (url) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      // There is none before the first batch.
      if (!text.includes("batch_calls")) throw new Error(`${url}/metrics does not tell of batches`);
      return Number(/^batch_calls_count\{batch="reserving"\} (\d+)$/m.exec(text)?.[1] ?? 0);
    }),
  );
  return counts.reduce((sum, one) => sum + one, 0);
}
