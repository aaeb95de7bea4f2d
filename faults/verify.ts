import type { Purchase } from "./load.ts";
import { UNKNOWN } from "./load.ts";
import type { System } from "./system.ts";

/** What became of promises: all of it must be nothing. */
export type Verdict = {
  /** Orders that are not what a caller was told that they are, one line each. */
  readonly lost: readonly string[];
  /** Units that were sold or promised beyond what was received. */
  readonly oversold: number;
  /** Items whose counters are not what the orders come to, one line each. */
  readonly miscounted: readonly string[];
};

/** Compares what callers were told with what is there. To be asked once the audit is clean. */
export async function verify(
  system: System,
  purchases: readonly Purchase[],
  skus: readonly string[],
  unitsReceived: number,
): Promise<Verdict> {
  const lost: string[] = [];
  const states = await readStates(
    system,
    purchases.map(({ orderId }) => orderId),
  );
  for (const purchase of purchases) {
    const state = states.get(purchase.orderId) ?? "MISSING";
    if (!mayBe(purchase, state)) {
      const { placing, ending } = purchase;
      const told = ending ? `${placing}, then ${ending.wanted}: ${ending.answer}` : placing;
      lost.push(`order ${purchase.orderId} is ${state}; its buyer was told ${told}`);
    }
  }
  const { oversold, miscounted } = await compareStock(system, skus, unitsReceived);
  return { lost, oversold, miscounted };
}

/** Whether an order may be in this state after what its buyer was told. */
export function mayBe({ placing, ending }: Purchase, state: string): boolean {
  if (placing === UNKNOWN) return true;
  if (placing !== "PENDING") {
    // Refused for the stock, or given up; an order that was refused without effect is not there.
    return state === "REJECTED" || state === "MISSING";
  }
  if (ending === undefined) return state === "PENDING" || state === "EXPIRED";
  const { wanted, answer } = ending;
  const wantedState = wanted === "settle" ? "SETTLED" : "CANCELLED";
  if (answer === "OK") return state === wantedState;
  if (answer === UNKNOWN) return state === "PENDING" || state === "EXPIRED" || state === wantedState;
  return answer === `ORDER_${state}` || (answer === "ORDER_EXPIRED" && state === "PENDING");
}

async function readStates(system: System, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await system.orderDatabase<{ order_id: string; state: string }[]>`
    select order_id, state
    from orders
    where tenant_id = 'demo'
      and order_id = any(${[...ids]}::uuid[])`;
  return new Map(rows.map((row) => [row.order_id, row.state]));
}

async function compareStock(system: System, skus: readonly string[], unitsReceived: number) {
  const sold = await system.orderDatabase<{ sku: string; settled: number; pending: number }[]>`
    select
      sku,
      coalesce(sum(quantity) filter (where state = 'SETTLED'), 0)::integer as settled,
      coalesce(sum(quantity) filter (where state = 'PENDING'), 0)::integer as pending
    from order_lines
    join orders using (tenant_id, order_id)
    where tenant_id = 'demo'
      and sku = any(${[...skus]}::text[])
    group by sku`;
  const levels = await system.inventoryDatabase<{ sku: string; on_hand: number; reserved: number }[]>`
    select sku, on_hand, reserved
    from stock_levels
    where tenant_id = 'demo'
      and location_id = 'main'
      and sku = any(${[...skus]}::text[])`;
  let oversold = 0;
  const miscounted: string[] = [];
  for (const sku of skus) {
    const { settled = 0, pending = 0 } = sold.find((row) => row.sku === sku) ?? {};
    const level = levels.find((row) => row.sku === sku);
    oversold += Math.max(0, settled + pending - unitsReceived);
    if (level?.on_hand === unitsReceived - settled && level.reserved === pending) continue;
    miscounted.push(
      `${sku}: ${unitsReceived} received, ${settled} settled, ${pending} pending, ` +
        `but on_hand ${level?.on_hand}, reserved ${level?.reserved}`,
    );
  }
  return { oversold, miscounted };
}
