import type { Pace } from "./ground.ts";
import { type ClosedLoad, type Load, runClosedLoad } from "./load.ts";

/** One of the things that are measured in turns. */
export type Contender = {
  readonly name: string;
  readonly callers: number;
  readonly work: ClosedLoad["work"];
  /** Done behind each slice, outside the measured time: what it set off has come to rest then. */
  readonly settle?: () => Promise<void>;
};

/** The loads of each contender, by its name, one a round. */
export type Rounds = ReadonlyMap<string, readonly Load[]>;

/**
 * Measures all contenders in each round, every other round in the opposite order, so that what changes in the
 * course of a run touches all of them alike.
 */
export async function runRounds(pace: Pace, contenders: readonly Contender[]): Promise<Rounds> {
  const loads = new Map<string, Load[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < pace.rounds; round += 1) {
    const order = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const contender of order) {
      const { callers, work } = contender;
      const { warmUpMs, sliceMs: durationMs } = pace;
      loads.get(contender.name)?.push(await runClosedLoad({ callers, work, warmUpMs, durationMs }));
      await contender.settle?.();
    }
  }
  return loads;
}

/** The loads of a contender. */
export function loadsOf(rounds: Rounds, name: string): readonly Load[] {
  const loads = rounds.get(name);
  if (!loads) throw new Error(`${name} was not measured`);
  return loads;
}

/** What a contender did a second, in each round. */
export function ratesOf(rounds: Rounds, name: string): number[] {
  return loadsOf(rounds, name).map(({ perSecond }) => perSecond);
}
