/** Races and repetitions that need more than a fault under load. Each throws if a promise is broken. */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { audit } from "../ops/audit/system.ts";
import { OUTCOMES_QUEUE } from "../ops/queues.ts";
import { callPatiently, createTally, type Ending, type Tally } from "./calls.ts";
import { republishShuffled, takeAll } from "./messages.ts";
import { type Chance, chanceFrom } from "./random.ts";
import { INSTANCES, receiveItems, type System } from "./system.ts";

/** What a scenario did, for the report. */
export type Result = {
  readonly scenario: string;
  readonly done: number;
  readonly tally: Tally;
  /** Figures that belong in the report. */
  readonly notes?: readonly string[];
};

const PATIENCE_MS = 90_000;
const LONG_TTL = { seconds: 3_600n };
const EVENTS_TIMEOUT_MS = 60_000;
/** How long before and after its time an order is paid: on a busy machine a payment is under way for long. */
const AROUND_EXPIRY_MS = { before: 300, after: 100 };

/** So many buyers for the last unit, in so many rounds, over two instances of each service: one wins each. */
export async function raceForTheLastUnit(system: System, rounds: number, buyers: number): Promise<Result> {
  const tally = createTally();
  const skus = await receiveItems(system, rounds, 1);
  for (const sku of skus) {
    const endings = await Promise.all(
      Array.from({ length: buyers }, () => {
        const request = orderFor(sku, 1);
        return callPatiently(tally, PATIENCE_MS, () => system.orders.createOrder(request));
      }),
    );
    const won = endings.filter(({ kind }) => kind === "answered").length;
    const short = endings.filter(
      (one) => one.kind === "refused" && one.reason === "INSUFFICIENT_STOCK",
    ).length;
    expect(`${sku}: winners and losers`, [won, short], [1, buyers - 1]);
  }
  await expectClean(system);
  return { scenario: `last-unit race, ${buyers} buyers`, done: rounds, tally };
}

/**
 * So many requests, each sent so many times at random moments while instances are killed: each takes effect
 * once, and its answer names the same order each time.
 */
export async function repeatRequests(
  system: System,
  requests: number,
  times: number,
  chance: Chance,
): Promise<Result> {
  const tally = createTally();
  const [sku = ""] = await receiveItems(system, 1, requests);
  const drafts = Array.from({ length: requests }, () => ({ ...orderFor(sku, 1), orderId: "" }));
  const sendings = chance.shuffle(drafts.flatMap((draft) => Array.from({ length: times }, () => draft)));
  const answers = new Map<string, Set<string>>();
  let sent = 0;
  const lane = async () => {
    for (let draft = sendings[sent++]; draft !== undefined; draft = sendings[sent++]) {
      const request = draft;
      const ending = await callPatiently(tally, PATIENCE_MS, () => system.orders.createOrder(request));
      const known = answers.get(request.requestId) ?? new Set();
      answers.set(request.requestId, known.add(nameAnswer(ending)));
    }
  };
  const killing = killNowAndThen(system, chance, () => sent >= sendings.length);
  await Promise.all(Array.from({ length: 24 }, lane));
  const kills = await killing;
  if (kills === 0) throw new Error("no instance was killed meanwhile");
  const mixed = [...answers.values()].filter((ofOne) => ofOne.size !== 1);
  expect(
    "requests with more than one answer",
    mixed.map((ofOne) => [...ofOne]),
    [],
  );
  const ids = [...answers.values()].flatMap((ofOne) => [...ofOne]);
  expect("orders that were made", new Set(ids).size, requests);
  await expectClean(system);
  const { stock } = await system.inventory.getStock({ sku });
  expect("reserved", stock?.reserved, requests);
  return { scenario: `request ids sent ${times} times across ${kills} kills`, done: requests, tally };
}

/**
 * The outcomes of so many orders, delivered three times each and in any order: Inventory is away while they
 * end, and meets all copies at once when it comes back.
 */
export async function deliverThrice(system: System, orders: number, chance: Chance): Promise<Result> {
  const tally = createTally();
  const skus = await receiveItems(system, 4, orders);
  const placed = await placeMany(system, tally, skus, orders, chance);
  for (const instance of ["inventory-1", "inventory-2"]) await system.stack.halt(instance);
  const settled = new Set(placed.filter(() => chance.next() < 0.5));
  await inLanes(placed, async (orderId) => {
    const requestId = randomUUID();
    const ending = await callPatiently<unknown>(tally, PATIENCE_MS, () =>
      settled.has(orderId)
        ? system.orders.settleOrder({ orderId, requestId, paymentReference: "paid" })
        : system.orders.cancelOrder({ orderId, requestId, reason: "withdrawn" }),
    );
    if (ending.kind === "answered") return;
    throw new Error(`order ${orderId} was not ended: ${nameAnswer(ending)}`);
  });
  const messages = await takeAll(system.addresses.amqpUrl, OUTCOMES_QUEUE, orders, EVENTS_TIMEOUT_MS);
  const copies = chance.shuffle([...messages, ...messages, ...messages]);
  await republishShuffled(system.addresses.amqpUrl, OUTCOMES_QUEUE, copies);
  for (const instance of ["inventory-1", "inventory-2"]) await system.stack.start(instance);
  await expectClean(system);
  const rows = await system.inventoryDatabase<{ type: string; count: number }[]>`
    select type, count(*)::integer as count
    from movements
    where tenant_id = 'demo'
      and sku = any(${skus}::text[])
      and type in ('COMMIT', 'RELEASE')
    group by type`;
  const counts = Object.fromEntries(rows.map(({ type, count }) => [type, count]));
  expect("effects", counts, { COMMIT: settled.size, RELEASE: orders - settled.size });
  return {
    scenario: `${copies.length} deliveries of ${messages.length} events, shuffled`,
    done: orders,
    tally,
  };
}

/**
 * Settlements that are sent at the very moment at which their orders fall due: each order has one outcome.
 */
export async function settleAtExpiry(system: System, orders: number, seed: number): Promise<Result> {
  const tally = createTally();
  const chance = chanceFrom(seed);
  // A late payment reserves anew while the release of the order's first reservation is still on its way.
  const [sku = ""] = await receiveItems(system, 1, 2 * orders);
  const answers = new Map<string, string>();
  const late = { no: 0, yes: 0 };
  const { before, after } = AROUND_EXPIRY_MS;
  await inLanes(Array.from({ length: orders }), async () => {
    const draft = { ...orderFor(sku, 1), ttl: { seconds: 2n } };
    const placed = await callPatiently(tally, PATIENCE_MS, () => system.orders.createOrder(draft));
    if (placed.kind !== "answered") throw new Error(`an order was not placed: ${nameAnswer(placed)}`);
    // It falls due a little sooner: its time runs from when the database had it.
    await until(performance.now() + 2_000 + chance.between(-before, after));
    const { orderId } = draft;
    const request = { orderId, requestId: randomUUID(), paymentReference: "paid" };
    const ending = await callPatiently(tally, PATIENCE_MS, () => system.orders.settleOrder(request));
    if (ending.kind === "answered") late[ending.answer.order?.late ? "yes" : "no"] += 1;
    answers.set(orderId, ending.kind === "answered" ? "SETTLED" : nameAnswer(ending));
  });
  const notes = [`settled in time ${late.no}, settled late ${late.yes}`];
  if (late.no === 0 || late.yes === 0) throw new Error(`nothing raced: ${notes.join()}`);
  await expectClean(system);
  type Row = { order_id: string; state: string; refund_required: boolean };
  const rows = await system.orderDatabase<Row[]>`
    select order_id, state, refund_required
    from orders
    where tenant_id = 'demo'
      and order_id = any(${[...answers.keys()]}::uuid[])`;
  const undefinedOnes = rows.filter(({ order_id, state, refund_required }) => {
    const answer = answers.get(order_id);
    if (answer === "SETTLED") return state !== "SETTLED" || refund_required;
    return answer !== "ORDER_EXPIRED" || state !== "EXPIRED" || !refund_required;
  });
  expect("orders without a defined outcome", undefinedOnes, []);
  expect("orders that are there", rows.length, orders);
  return { scenario: "a payment against expiry, at the very moment", done: orders, tally, notes };
}

function orderFor(sku: string, quantity: number) {
  return {
    orderId: randomUUID() as string,
    requestId: randomUUID(),
    customerId: "a buyer",
    ttl: LONG_TTL,
    lines: [{ sku, quantity }],
  };
}

async function placeMany(
  system: System,
  tally: Tally,
  skus: readonly string[],
  orders: number,
  chance: Chance,
): Promise<string[]> {
  const placed: string[] = [];
  await inLanes(Array.from({ length: orders }), async () => {
    const request = orderFor(chance.pick(skus), 1);
    const ending = await callPatiently(tally, PATIENCE_MS, () => system.orders.createOrder(request));
    if (ending.kind !== "answered") throw new Error(`an order was not placed: ${nameAnswer(ending)}`);
    placed.push(request.orderId);
  });
  return placed;
}

async function killNowAndThen(system: System, chance: Chance, isOver: () => boolean): Promise<number> {
  let kills = 0;
  // The first comes soon: a fast machine has sent all of the short form within a second.
  let pauseMs = chance.between(50, 150);
  for (;;) {
    await until(performance.now() + pauseMs);
    if (isOver()) return kills;
    pauseMs = chance.between(500, 1_500);
    const instance = chance.pick(INSTANCES);
    await system.stack.kill(instance, "SIGKILL");
    await system.stack.ready(instance);
    kills += 1;
  }
}

async function inLanes<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const lane = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(LANES, items.length) }, lane));
}

const LANES = 32;

async function until(timeMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, timeMs - performance.now())));
}

function nameAnswer(
  ending: Ending<{ readonly order?: { readonly orderId: string } | undefined }> | Ending<unknown>,
): string {
  if (ending.kind === "refused") return ending.reason;
  if (ending.kind === "unknown") return "unknown";
  const { answer } = ending;
  const order = typeof answer === "object" && answer !== null && "order" in answer ? answer.order : undefined;
  return typeof order === "object" && order !== null && "orderId" in order ? String(order.orderId) : "";
}

async function expectClean(system: System): Promise<void> {
  expect("findings of the audit", await audit(system.addresses), []);
}

function expect(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  throw new Error(`${what}: it is ${is.slice(0, 2_000)} and should be ${should}`);
}
