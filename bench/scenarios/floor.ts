import { uuidv7 } from "#libs/db";
import type { ReserveCall } from "../../services/inventory/domain/calls.ts";
import { changeStock } from "../../services/inventory/store/change.ts";
import { connectStore } from "../../services/inventory/store/connect.ts";
import { createKnownNudges } from "../../services/inventory/store/nudges.ts";
import { reserving, skusOf } from "../calls.ts";
import { ratiosOf } from "../figures/spread.ts";
import { type Ground, variable } from "../ground.ts";
import type { Work } from "../load.ts";
import type { Notes } from "../report.ts";
import { loadsOf, ratesOf, runRounds } from "../rounds.ts";
import { checkNoFailures, checkStock, layStock, succeeded } from "../stock.ts";
import { OK, type Outcome } from "../wire/client.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const BATCH_CALLS = 256;
const TTL_MS = 86_400_000;

/**
 * The limit on this machine: the statements of Inventory's own store with whole batches, one after the other,
 * called in this process without any RPC. Beside it what comes through the RPC.
 */
export async function measureFloor(ground: Ground, notes: Notes): Promise<void> {
  const [hot, spread] = [skusOf("floor-", 1), skusOf("flr-", MANY_SKUS)];
  await layStock(ground, [...hot, ...spread]);
  const sql = connectStore(variable(ground.stack, "INVENTORY_DATABASE_URL"), "floor");
  const target = await ground.directly("inventory", MANY_CALLERS);
  const context = { sql, knownNudges: createKnownNudges(), publish: () => {}, observe: () => {} };
  async function carryOut(draw: () => string): Promise<Outcome> {
    const calls = Array.from({ length: BATCH_CALLS }, () => reserveCall(draw()));
    const outcomes = await changeStock(context, "demo", calls);
    return outcomes.every(({ ok }) => ok) ? OK : "REFUSED";
  }
  const batches = (draw: () => string): Work => {
    const run = async (done: (outcome: Outcome) => void) => done(await carryOut(draw));
    return (done) => void run(done);
  };
  const [hotSku = ""] = hot;
  const rounds = await runRounds(ground.pace, [
    { name: "rpc", callers: MANY_CALLERS, work: reserving(target, 1, () => hot) },
    { name: "floor", callers: 1, work: batches(() => hotSku) },
    { name: "floor, 1,000 skus", callers: 1, work: batches(inTurn(spread)) },
  ]);
  const perSecond = (name: string) => ratesOf(rounds, name).map((rate) => rate * BATCH_CALLS);
  notes.measure("one sku, batches of 256 without RPC", "calls/s", perSecond("floor"));
  notes.measure("1,000 skus, batches of 256 without RPC", "calls/s", perSecond("floor, 1,000 skus"));
  notes.measure("one sku through the RPC, 256 callers", "calls/s", ratesOf(rounds, "rpc"));
  notes.goal(
    { name: "hot / floor", direction: "at least", must: 0.35, aim: 0.6, unit: "x" },
    ratiosOf(ratesOf(rounds, "rpc"), perSecond("floor")),
  );
  const all = [...rounds.values()].flat();
  checkNoFailures(notes, "floor", all);
  const units = succeeded(loadsOf(rounds, "rpc")) + succeeded(loadsOf(rounds, "floor")) * BATCH_CALLS;
  await checkStock(ground, notes, "one sku", hot, units);
  const spreadUnits = succeeded(loadsOf(rounds, "floor, 1,000 skus")) * BATCH_CALLS;
  await checkStock(ground, notes, "1,000 skus", spread, spreadUnits);
  target.client.close();
  await sql.end();
}

function reserveCall(sku: string): ReserveCall {
  return {
    kind: "reserve",
    reservationId: uuidv7(),
    minted: true,
    owner: "bench",
    lines: [{ sku, locationId: "main", quantity: 1 }],
    expiry: { kind: "ttl", ttlMs: TTL_MS },
    idempotentById: false,
    validateOnly: false,
  };
}
