import { reserving, skuOf, type Target } from "../calls.ts";
import { ratiosOf } from "../figures/spread.ts";
import { type Ground, targetAt } from "../ground.ts";
import type { Notes } from "../report.ts";
import { loadsOf, ratesOf, runRounds } from "../rounds.ts";
import { checkNoFailures } from "../stock.ts";

const CALLERS = 64;

/**
 * Unary gRPC of one process with a trivial handler: the way in of the services against connect-node's own.
 */
export async function measureRpc(ground: Ground, notes: Notes): Promise<void> {
  const own = await targetAt(await ground.reference("pipeline"), CALLERS);
  const reference = await targetAt(await ground.reference("connect-node"), CALLERS);
  const work = (target: Target) => reserving(target, 1, () => [skuOf("rpc-", 0)]);
  const rounds = await runRounds(ground.pace, [
    { name: "own", callers: CALLERS, work: work(own) },
    { name: "reference", callers: CALLERS, work: work(reference) },
  ]);
  const [ownRates, referenceRates] = [ratesOf(rounds, "own"), ratesOf(rounds, "reference")];
  notes.measure("libs/rpc, 64 in flight", "calls/s", ownRates);
  notes.measure("connect-node's adapter, 64 in flight", "calls/s", referenceRates);
  notes.goal(
    {
      name: "unary gRPC against connect-node's adapter",
      direction: "at least",
      must: 4,
      aim: 7,
      unit: "x",
    },
    ratiosOf(ownRates, referenceRates),
  );
  checkNoFailures(notes, "both", [...loadsOf(rounds, "own"), ...loadsOf(rounds, "reference")]);
  own.client.close();
  reference.client.close();
}
