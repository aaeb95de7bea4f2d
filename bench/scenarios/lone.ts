import { reserving, skusOf, type Target } from "../calls.ts";
import { percentileMs } from "../figures/latency.ts";
import { ratiosOf } from "../figures/spread.ts";
import { type Ground, targetAt } from "../ground.ts";
import type { Load } from "../load.ts";
import type { Notes } from "../report.ts";
import { loadsOf, runRounds } from "../rounds.ts";
import { checkNoFailures, checkStock, layStock, succeeded } from "../stock.ts";

/**
 * So many turns instead of one of the usual length: a lone caller waits for the disk, whose speed comes and
 * goes within seconds, and shorter turns meet it alike.
 */
const TURNS = 16;

/** One caller alone: gathering calls must not make him wait. */
export async function measureLone(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("lone-", 1);
  await layStock(ground, skus);
  const whole = await ground.directly("inventory", 1);
  const batched = await targetAt(await ground.reference("gathering"), 1);
  const unbatched = await targetAt(await ground.reference("unbatched"), 1);
  const work = (target: Target) => reserving(target, 1, () => skus);
  const { pace } = ground;
  const shortTurns = {
    ...pace,
    rounds: pace.rounds * TURNS,
    warmUpMs: pace.warmUpMs / TURNS,
    sliceMs: pace.sliceMs / TURNS,
  };
  const rounds = await runRounds(shortTurns, [
    { name: "whole", callers: 1, work: work(whole) },
    { name: "batched", callers: 1, work: work(batched) },
    { name: "unbatched", callers: 1, work: work(unbatched) },
  ]);
  const medians = (name: string) => loadsOf(rounds, name).map(medianMs);
  notes.measure("a lone caller's median, by Inventory as it runs", "ms", medians("whole"));
  notes.measure("a lone caller's median, batched", "ms", medians("batched"));
  notes.measure("a lone caller's median, each call by itself", "ms", medians("unbatched"));
  notes.goal(
    {
      name: "lone caller's median, batched / not batched",
      direction: "at most",
      must: 1.1,
      aim: 1,
      unit: "x",
    },
    ratiosOf(medians("batched"), medians("unbatched")),
  );
  const all = [...rounds.values()].flat();
  checkNoFailures(notes, "all", all);
  await checkStock(ground, notes, "all", skus, succeeded(all));
  whole.client.close();
  batched.client.close();
  unbatched.client.close();
}

function medianMs({ latencies }: Load): number {
  return percentileMs(latencies, 50);
}
