import { ordering, reserving, skusOf } from "../calls.ts";
import type { Ground } from "../ground.ts";
import { runClosedLoad, type Work } from "../load.ts";
import { profileProcess, type Share, sharesByFunction, sharesByLibrary } from "../profile.ts";
import type { Notes } from "../report.ts";
import { layStock } from "../stock.ts";
import { inTurn, MANY_CALLERS, MANY_SKUS } from "./reservations.ts";

const CALLERS = 64;
const SHOWN_LIBRARIES = 12;
const SHOWN_FUNCTIONS = 12;

/** Where the processor time of the services goes under load, by library and by function. */
export async function measureProfile(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("prf-", MANY_SKUS);
  await layStock(ground, skus);
  const draw = inTurn(skus);
  const direct = await ground.directly("inventory", MANY_CALLERS);
  const json = await ground.gateway("json", CALLERS);
  const placing = ordering(json, "json", draw, { settled: true });
  const reservations = reserving(direct, 1, () => [draw()]);
  await note(ground, notes, "inventory-1, reservations, 256 callers", MANY_CALLERS, reservations);
  await note(ground, notes, "order-1, orders over JSON, 64 callers", CALLERS, placing);
  await note(ground, notes, "inventory-1, orders over JSON, 64 callers", CALLERS, placing);
  direct.client.close();
  json.client.close();
}

async function note(ground: Ground, notes: Notes, what: string, callers: number, work: Work): Promise<void> {
  const pid = ground.stack.processes().get(what.split(",")[0] ?? "");
  if (pid === undefined) throw new Error(`${what}: there is no such process`);
  const profile = await profileProcess(pid, async () => {
    await runClosedLoad({ callers, warmUpMs: 0, durationMs: 4_000, work });
  });
  const list = (shares: readonly Share[], count: number, kind: string) => {
    for (const { name, percent } of shares.slice(0, count))
      notes.measure(`${what}: ${kind} ${name}`, "%", [percent]);
  };
  list(sharesByLibrary(profile), SHOWN_LIBRARIES, "");
  list(sharesByFunction(profile), SHOWN_FUNCTIONS, "fn");
}
