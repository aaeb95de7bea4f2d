import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { callPatiently, createTally, type Ending, type Tally } from "./calls.ts";
import type { Chance } from "./random.ts";
import type { Clients } from "./system.ts";

/** What a buyer was told about one order. */
export type Purchase = {
  readonly orderId: string;
  /** PENDING when it was placed, a reason when it was refused, unknown when nobody answered in time. */
  readonly placing: string;
  /** What was asked for afterwards, and what was answered: OK, a reason, or unknown. */
  readonly ending: { readonly wanted: "settle" | "cancel"; readonly answer: string } | undefined;
};

/** Buyers at work. */
export type Load = {
  readonly tally: Tally;
  readonly purchases: readonly Purchase[];
  /** Waits until so many more orders have been dealt with. */
  more(orders: number): Promise<void>;
  /** Lets every buyer end what it has begun. */
  stop(): Promise<void>;
};

export type LoadOptions = {
  readonly buyers: number;
  readonly skus: readonly string[];
  readonly chance: Chance;
  /** The longest a buyer thinks between two orders. */
  readonly thinkingMs?: number;
};

export const UNKNOWN = "unknown";
/** A buyer repeats a call until this time is over: longer than any part is away while there is load. */
const PATIENCE_MS = 90_000;
const THINKING_MS = 100;
const MORE_TIMEOUT_MS = 120_000;
/** Orders that are left to expire have this much time, the others this much. */
const SHORT_TTL_S = 2n;
const LONG_TTL_S = 3_600n;

/**
 * Starts buyers who place orders and settle them, cancel them or leave them to expire, and note every answer.
 */
export function startLoad(clients: Clients, options: LoadOptions): Load {
  const { buyers, skus, chance, thinkingMs = THINKING_MS } = options;
  const tally = createTally();
  const purchases: Purchase[] = [];
  let stopping = false;

  async function buy(): Promise<void> {
    const orderId = randomUUID();
    const plan = chance.pick(["settle", "settle", "cancel", "expire", "raceExpiry"] as const);
    const lines = chance
      .shuffle(skus)
      .slice(0, chance.between(1, 3))
      .map((sku) => ({ sku, quantity: chance.between(1, 3) }));
    const isShort = plan === "expire" || plan === "raceExpiry";
    const request = {
      orderId,
      requestId: randomUUID(),
      customerId: "a buyer",
      ttl: { seconds: isShort ? SHORT_TTL_S : LONG_TTL_S },
      lines,
    };
    const placed = await callPatiently(tally, PATIENCE_MS, () => clients.orders.createOrder(request));
    const placing = placed.kind === "answered" ? "PENDING" : nameOf(placed);
    if (placing !== "PENDING" || plan === "expire") {
      purchases.push({ orderId, placing, ending: undefined });
      return;
    }
    if (plan === "raceExpiry") await pause(chance.between(1_900, 2_100));
    const wanted = plan === "cancel" ? "cancel" : "settle";
    const requestId = randomUUID();
    const ended = await callPatiently<unknown>(tally, PATIENCE_MS, () =>
      wanted === "settle"
        ? clients.orders.settleOrder({ orderId, requestId, paymentReference: requestId })
        : clients.orders.cancelOrder({ orderId, requestId, reason: "changed my mind" }),
    );
    purchases.push({ orderId, placing, ending: { wanted, answer: nameOf(ended) } });
  }

  async function work(): Promise<void> {
    while (!stopping) {
      await buy();
      await pause(chance.between(0, thinkingMs));
    }
  }

  const working = Array.from({ length: buyers }, () => work());
  return {
    tally,
    purchases,
    more: async (orders) => {
      const enough = purchases.length + orders;
      const deadline = performance.now() + MORE_TIMEOUT_MS;
      while (purchases.length < enough) {
        if (performance.now() > deadline)
          throw new Error(`the load stands still at ${purchases.length} orders`);
        await pause(20);
      }
    },
    stop: async () => {
      stopping = true;
      await Promise.all(working);
    },
  };
}

function nameOf(ending: Ending<unknown>): string {
  if (ending.kind === "answered") return "OK";
  return ending.kind === "refused" ? ending.reason : UNKNOWN;
}
