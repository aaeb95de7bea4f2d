/** Reservations through the RPC of Inventory: of one sku, of a thousand, and whole baskets. */
import { reserving, skusOf, type Target } from "../calls.ts";
import type { Curve } from "../figures/chart.ts";
import { ratiosOf, spreadOf } from "../figures/spread.ts";
import { drawDistinct, seededRandom, zipf } from "../figures/zipf.ts";
import { type Ground, targetAt } from "../ground.ts";
import type { Work } from "../load.ts";
import type { Notes } from "../report.ts";
import { type Contender, loadsOf, type Rounds, ratesOf, runRounds } from "../rounds.ts";
import {
  checkNoFailures,
  checkReference,
  checkStock,
  layReferenceStock,
  layStock,
  succeeded,
} from "../stock.ts";

/** Callers at once, of whom each waits for his answer. */
const CALLERS = [1, 16, 64, 256] as const;
const QUICK_CALLERS = [256] as const;
export const MANY_CALLERS = 256;
export const MANY_SKUS = 1_000;
const BASKET_LINES = 5;
const SEED = 2_026;

/** Gives one of the skus in turn, so that all are taken alike. */
export function inTurn(skus: readonly string[]): () => string {
  let turn = -1;
  return () => {
    turn = (turn + 1) % skus.length;
    return skus[turn] ?? "";
  };
}

/** Both sides of a comparison, and what they draw from. */
type Sides = {
  readonly own: Target;
  readonly reference: Target;
  readonly skus: readonly string[];
  readonly lines: number;
  readonly draw: () => readonly string[];
};

async function openSides(ground: Ground, skus: readonly string[]): Promise<Pick<Sides, "own" | "reference">> {
  await layStock(ground, skus);
  const referenceUrl = await ground.reference("transactions");
  await layReferenceStock(await ground.referenceSql(), skus);
  return {
    own: await ground.directly("inventory", MANY_CALLERS),
    reference: await targetAt(referenceUrl, MANY_CALLERS),
  };
}

function contendersFor(sides: Sides, callers: readonly number[]): Contender[] {
  const own: Work = reserving(sides.own, sides.lines, sides.draw);
  const reference: Work = reserving(sides.reference, sides.lines, sides.draw);
  return callers.flatMap((count) => [
    { name: `own ${count}`, callers: count, work: own },
    { name: `reference ${count}`, callers: count, work: reference },
  ]);
}

function noteRates(notes: Notes, rounds: Rounds, callers: readonly number[]): void {
  for (const count of callers) {
    notes.measure(`${count} callers`, "calls/s", ratesOf(rounds, `own ${count}`));
    notes.measure(`${count} callers, a transaction a call`, "calls/s", ratesOf(rounds, `reference ${count}`));
  }
}

async function checkSides(ground: Ground, notes: Notes, sides: Sides, rounds: Rounds): Promise<void> {
  const own = [...rounds].filter(([name]) => !name.startsWith("reference")).flatMap(([, loads]) => loads);
  const reference = [...rounds]
    .filter(([name]) => name.startsWith("reference"))
    .flatMap(([, loads]) => loads);
  checkNoFailures(notes, "reservations", own);
  checkNoFailures(notes, "reference", reference);
  await checkStock(ground, notes, "reservations", sides.skus, succeeded(own) * sides.lines);
  await checkReference(await ground.referenceSql(), notes, sides.skus, succeeded(reference) * sides.lines);
  sides.own.client.close();
  sides.reference.client.close();
}

function curveOf(name: string, rounds: Rounds, side: string, callers: readonly number[]): Curve {
  return {
    name,
    points: callers.map((count) => [count, spreadOf(ratesOf(rounds, `${side} ${count}`)).median]),
  };
}

function callersOf(ground: Ground): readonly number[] {
  return ground.pace.quick ? QUICK_CALLERS : CALLERS;
}

/** One sku for everybody, and beside it at the most callers a thousand skus. */
export async function measureHot(ground: Ground, notes: Notes): Promise<void> {
  const [hot, spread] = [skusOf("hot-", 1), skusOf("wide-", MANY_SKUS)];
  const sides = { ...(await openSides(ground, hot)), skus: hot, lines: 1, draw: () => hot };
  await layStock(ground, spread);
  const next = inTurn(spread);
  const callers = callersOf(ground);
  const uniform: Contender = {
    name: "uniform",
    callers: MANY_CALLERS,
    work: reserving(sides.own, 1, () => [next()]),
  };
  const rounds = await runRounds(ground.pace, [...contendersFor(sides, callers), uniform]);
  noteRates(notes, rounds, callers);
  notes.measure(`${MANY_CALLERS} callers, 1,000 skus`, "calls/s", ratesOf(rounds, "uniform"));
  const own = ratesOf(rounds, `own ${MANY_CALLERS}`);
  notes.goal(
    {
      name: "hot, 256 callers, against a transaction a call",
      direction: "at least",
      must: 10,
      aim: 30,
      unit: "x",
    },
    ratiosOf(own, ratesOf(rounds, `reference ${MANY_CALLERS}`)),
  );
  notes.goal(
    { name: "hot / uniform, 256 callers", direction: "at least", must: 0.9, aim: 1, unit: "x" },
    ratiosOf(own, ratesOf(rounds, "uniform")),
  );
  if (!ground.pace.quick) {
    notes.chart("throughput-hot", {
      title: "Reservations of one sku",
      xName: "callers at once",
      yName: "reservations/s",
      xScale: "log",
      yScale: "log",
      xTicks: callers,
      curves: [
        curveOf("Holdfast", rounds, "own", callers),
        curveOf("a transaction a call", rounds, "reference", callers),
      ],
    });
  }
  const hotRounds = new Map([...rounds].filter(([name]) => name !== "uniform"));
  await checkSides(ground, notes, sides, hotRounds);
  const uniformLoads = loadsOf(rounds, "uniform");
  checkNoFailures(notes, "uniform", uniformLoads);
  await checkStock(ground, notes, "uniform", spread, succeeded(uniformLoads));
  await checkLastUnits(ground, notes);
}

/** A thousand skus, each as likely as the other. */
export async function measureUniform(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("uni-", MANY_SKUS);
  const next = inTurn(skus);
  const sides = { ...(await openSides(ground, skus)), skus, lines: 1, draw: () => [next()] };
  const callers = callersOf(ground);
  const rounds = await runRounds(ground.pace, contendersFor(sides, callers));
  noteRates(notes, rounds, callers);
  notes.goal(
    {
      name: "uniform, 256 callers, against a transaction a call",
      direction: "at least",
      must: 3,
      aim: 8,
      unit: "x",
    },
    ratiosOf(ratesOf(rounds, `own ${MANY_CALLERS}`), ratesOf(rounds, `reference ${MANY_CALLERS}`)),
  );
  if (!ground.pace.quick) {
    notes.chart("throughput-uniform", {
      title: "Reservations over 1,000 skus",
      xName: "callers at once",
      yName: "reservations/s",
      xScale: "log",
      yScale: "log",
      xTicks: callers,
      curves: [
        curveOf("Holdfast", rounds, "own", callers),
        curveOf("a transaction a call", rounds, "reference", callers),
      ],
    });
  }
  await checkSides(ground, notes, sides, rounds);
}

/** Five lines a call, drawn as customers do: a few skus are in most baskets. */
export async function measureBaskets(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("bsk-", MANY_SKUS);
  const draw = zipf(MANY_SKUS, seededRandom(SEED));
  const basket = () => drawDistinct(draw, BASKET_LINES).map((index) => skus[index] ?? "");
  const sides = { ...(await openSides(ground, skus)), skus, lines: BASKET_LINES, draw: basket };
  const rounds = await runRounds(ground.pace, contendersFor(sides, QUICK_CALLERS));
  noteRates(notes, rounds, QUICK_CALLERS);
  notes.measure(
    "baskets, 256 callers, against a transaction a call",
    "x",
    ratiosOf(ratesOf(rounds, `own ${MANY_CALLERS}`), ratesOf(rounds, `reference ${MANY_CALLERS}`)),
  );
  await checkSides(ground, notes, sides, rounds);
}

const LAST_UNITS = 500;
const BUYERS = 2_000;

/** Many buyers for the last units: as many win as there are units. */
async function checkLastUnits(ground: Ground, notes: Notes): Promise<void> {
  const skus = skusOf("last-", 1);
  await layStock(ground, skus, LAST_UNITS);
  const target = await ground.directly("inventory", MANY_CALLERS);
  const buy = reserving(target, 1, () => skus);
  const buying = Array.from({ length: BUYERS }, () => new Promise<string>((resolve) => buy(resolve)));
  const won = (await Promise.all(buying)).filter((outcome) => outcome === "OK").length;
  notes.check(
    "the last units: winners",
    won === LAST_UNITS,
    `${won} of ${BUYERS} buyers won ${LAST_UNITS} units`,
  );
  await checkStock(ground, notes, "the last units", skus, won);
  target.client.close();
}
