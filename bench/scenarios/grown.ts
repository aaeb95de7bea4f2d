import { createRpcClient } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { findFreePorts } from "../../stack/ports.ts";
import { ensureOwnedDatabase } from "../../stack/postgres.ts";
import { migrateService, planService } from "../../stack/service.ts";
import { reserving, skusOf } from "../calls.ts";
import { ratiosOf } from "../figures/spread.ts";
import { connectTo, type Ground, targetAt, variable } from "../ground.ts";
import { layPast } from "../laid.ts";
import type { Notes } from "../report.ts";
import { loadsOf, ratesOf, runRounds } from "../rounds.ts";
import { checkNoFailures, checkStock, checkStockIn, layStock, succeeded } from "../stock.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const GROWN = "inventory-grown";
const DATABASE = "holdfast_inventory_grown";
const RESERVATIONS_A_SKU = 10_000;
/** Three times as many rounds as elsewhere: beside what is laid down they cost little. */
const TIMES_ROUNDS = 3;
const RPC_TIMEOUT_MS = 30_000;
/** Those that are verified: a ledger of 20 million rows takes longer than a call may. */
const VERIFIED_SKUS = 20;

/**
 * Reservations on tables with 10 million ended ones and 20 million movements, by a second Inventory with a
 * database of its own, in turns with the first one, whose tables are short.
 */
export async function measureGrown(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("grw-", MANY_SKUS);
  await layStock(ground, skus);
  const grown = await startGrown(ground);
  const startedAt = performance.now();
  const reservationsASku = ground.pace.quick ? RESERVATIONS_A_SKU / 100 : RESERVATIONS_A_SKU;
  await layPast(grown.sql, { skus, reservationsASku });
  notes.measure("laying down the past", "s", [(performance.now() - startedAt) / 1_000]);

  const fresh = await ground.directly("inventory", MANY_CALLERS);
  const old = await targetAt(grown.url, MANY_CALLERS);
  const [hot = ""] = skus;
  const next = inTurn(skus);
  const pace = { ...ground.pace, rounds: TIMES_ROUNDS * ground.pace.rounds };
  const rounds = await runRounds(pace, [
    { name: "fresh, hot", callers: MANY_CALLERS, work: reserving(fresh, 1, () => [hot]) },
    { name: "grown, hot", callers: MANY_CALLERS, work: reserving(old, 1, () => [hot]) },
    { name: "fresh, uniform", callers: MANY_CALLERS, work: reserving(fresh, 1, () => [next()]) },
    { name: "grown, uniform", callers: MANY_CALLERS, work: reserving(old, 1, () => [next()]) },
  ]);
  for (const kind of ["hot", "uniform"]) {
    for (const age of ["fresh", "grown"]) {
      notes.measure(`${kind}, ${age} tables`, "calls/s", ratesOf(rounds, `${age}, ${kind}`));
    }
    notes.goal(
      { name: `${kind}: grown / fresh`, direction: "at least", must: 0.85, aim: 0.95, unit: "x" },
      ratiosOf(ratesOf(rounds, `grown, ${kind}`), ratesOf(rounds, `fresh, ${kind}`)),
    );
  }
  const loads = (age: string) => ["hot", "uniform"].flatMap((kind) => loadsOf(rounds, `${age}, ${kind}`));
  checkNoFailures(notes, "both", [...loads("fresh"), ...loads("grown")]);
  await checkStock(ground, notes, "fresh", skus, succeeded(loads("fresh")));
  const [counters] = await grown.sql<{ units: bigint }[]>`
    select sum(reserved)::bigint as units
    from stock_levels
    where tenant_id = 'demo'`;
  const units = succeeded(loads("grown"));
  notes.check("grown: reserved units", Number(counters?.units) === units, `${units} promised to callers`);
  const verified = skus.slice(0, VERIFIED_SKUS);
  const [part] = await grown.sql<{ units: bigint }[]>`
    select sum(reserved)::bigint as units
    from stock_levels
    where tenant_id = 'demo'
      and sku = any(${verified}::text[])`;
  await checkStockIn(grown.inventory, grown.sql, notes, "grown", verified, Number(part?.units));
  fresh.client.close();
  old.client.close();
  // It takes the outcomes of orders from the same queue, and knows nothing of them.
  await ground.supervisor.process(GROWN).stop();
  await grown.sql.end();
}

async function startGrown(ground: Ground) {
  const { stack, supervisor } = ground;
  const databaseUrl = await ensureOwnedDatabase(variable(stack, "ADMIN_DATABASE_URL"), DATABASE);
  const [rpcPort = 0, opsPort = 0] = await findFreePorts(2);
  const instance = {
    name: GROWN,
    service: "inventory",
    rpcAddress: `127.0.0.1:${rpcPort}`,
    opsAddress: `127.0.0.1:${opsPort}`,
  } as const;
  const environment = {
    INSTANCE: instance.name,
    RPC_ADDRESS: instance.rpcAddress,
    OPS_ADDRESS: instance.opsAddress,
    DATABASE_URL: databaseUrl,
    AMQP_URL: variable(stack, "AMQP_URL"),
    LOG_LEVEL: "info",
    // The queue of nudges is the first instance's.
    EXPIRY_NUDGES: "off",
  };
  await migrateService("inventory", environment);
  await supervisor.start(planService(instance, environment));
  const url = `http://${instance.rpcAddress}`;
  const inventory = createRpcClient({ urls: [url], service: InventoryService, timeoutMs: RPC_TIMEOUT_MS });
  return { url, sql: connectTo(databaseUrl), inventory };
}
