import type { Finding } from "../ops/audit/finding.ts";
import { audit } from "../ops/audit/system.ts";
import { type Load, startLoad } from "./load.ts";
import { type Chance, chanceFrom } from "./random.ts";
import { receiveItems, type System, type SystemOptions } from "./system.ts";
import { verify } from "./verify.ts";

/** Something that is done to a system while it works. */
export type Fault = {
  readonly name: string;
  /** How often it is done in the long form, and in the short one that runs with the tests, if it is in it. */
  readonly times: { readonly short?: number; readonly long: number };
  /** Whether callers may see failed calls meanwhile. */
  readonly mayFail: boolean;
  /** Orders that are dealt with between two of them. */
  readonly ordersBetween?: number;
  /** Units of each item, where the usual ones would be sold out. */
  readonly units?: number;
  /** How long it lasts in the long form, where that is what is scaled. */
  readonly lastsMs?: number;
  /** What the system is started with. */
  readonly system?: SystemOptions;
  /** Why it can't be done on this machine, if it can't. */
  readonly impossible?: () => string | undefined;
  /** Does it, shows that it happened (or throws), and resolves once the system is whole again. */
  readonly inject: (trial: Trial) => Promise<void>;
};

/** What a fault has at hand. */
export type Trial = {
  readonly system: System;
  readonly load: Load;
  readonly chance: Chance;
  /** Throws unless it is so: a fault that did not happen proves nothing. */
  show(fact: string, isSo: boolean): void;
  /** Puts something that was measured into the report. */
  note(what: string): void;
  /** How long it is to last, if it says so. */
  readonly lastsMs: number;
};

/**
 * What came of a fault; `lost`, `miscounted` and `findings` are empty and `oversold` is 0, or a promise is
 * broken.
 */
export type Outcome = {
  readonly fault: string;
  readonly seed: number;
  readonly times: number;
  readonly orders: number;
  readonly calls: number;
  readonly failures: ReadonlyMap<string, number>;
  readonly firstTexts: ReadonlyMap<string, string>;
  /** What the gateway has logged of the first calls that it could not get answered. */
  readonly gatewayLog: readonly string[];
  readonly lost: readonly string[];
  readonly oversold: number;
  readonly miscounted: readonly string[];
  readonly findings: readonly Finding[];
  readonly unknown: number;
  readonly longestCallMs: number;
  readonly longestSilenceMs: number;
  /** The longest time from the end of a fault to a clean audit. */
  readonly longestRecoveryMs: number;
  readonly tookMs: number;
  readonly notes: readonly string[];
};

const BUYERS = 12;
const ITEMS = 8;
/** So much that some orders are refused for the stock, and most are not. */
const UNITS = 400;
const ORDERS_BEFORE = 30;
const ORDERS_BETWEEN = 15;
const LOGGED_CALLS = 5;

/**
 * Does a fault so many times under load, and judges what is left: by the audit, and by what callers were
 * told.
 */
export async function runTrial(
  system: System,
  fault: Fault,
  times: number,
  seed: number,
  lastsMs = fault.lastsMs ?? 0,
): Promise<Outcome> {
  const startedAt = performance.now();
  const chance = chanceFrom(seed);
  const units = fault.units ?? UNITS + 100 * times;
  const skus = await receiveItems(system, ITEMS, units);
  const loggedBefore = system.logOf("envoy").length;
  const load = startLoad(system, { buyers: BUYERS, skus, chance: chanceFrom(seed + 1) });
  const show = (fact: string, isSo: boolean) => {
    if (!isSo) throw new Error(`${fault.name}: it was to be shown that ${fact}`);
  };
  const notes: string[] = [];
  const note = (what: string) => notes.push(what);
  const findings: Finding[] = [];
  let longestRecoveryMs = 0;
  try {
    await load.more(ORDERS_BEFORE);
    for (let done = 0; done < times && findings.length === 0; done += 1) {
      await fault.inject({ system, load, chance, show, note, lastsMs });
      const mendedAt = performance.now();
      findings.push(...(await audit(system.addresses)));
      longestRecoveryMs = Math.max(longestRecoveryMs, performance.now() - mendedAt);
      await load.more(fault.ordersBetween ?? ORDERS_BETWEEN);
    }
  } finally {
    await load.stop();
  }
  findings.push(...(await audit(system.addresses)));
  const { tally, purchases } = load;
  return {
    fault: fault.name,
    seed,
    times,
    orders: purchases.length,
    calls: tally.calls,
    failures: tally.failures,
    firstTexts: tally.firstTexts,
    gatewayLog: unansweredIn(system.logOf("envoy").slice(loggedBefore)),
    ...(await verify(system, purchases, skus, units)),
    findings,
    unknown: purchases.filter(({ placing, ending }) => placing === "unknown" || ending?.answer === "unknown")
      .length,
    longestCallMs: tally.longestCallMs,
    longestSilenceMs: tally.longestSilenceMs,
    longestRecoveryMs,
    tookMs: performance.now() - startedAt,
    notes,
  };
}

function unansweredIn(log: string): string[] {
  return log
    .split("\n")
    .filter((line) => line.includes('"upstream_reset') || line.includes('"no_healthy_upstream'))
    .slice(0, LOGGED_CALLS);
}

/** Everything that is wrong with an outcome, one line each; nothing if every promise was kept. */
export function brokenPromises(outcome: Outcome, fault: Pick<Fault, "mayFail">): string[] {
  const { lost, oversold, miscounted, findings, failures, firstTexts, longestRecoveryMs } = outcome;
  const failed = [...failures].map(([name, count]) => `${count} x ${name} ("${firstTexts.get(name)}")`);
  const callsFailed = [`calls failed: ${failed.join(", ")}`, ...outcome.gatewayLog];
  return [
    ...lost,
    ...miscounted,
    ...findings.map(({ kind, subject, detail }) => `${kind} ${subject}: ${detail}`),
    ...(oversold > 0 ? [`${oversold} units were oversold`] : []),
    ...(longestRecoveryMs > RECOVERY_LIMIT_MS ? [`a clean audit took ${longestRecoveryMs} ms`] : []),
    ...(!fault.mayFail && failed.length > 0 ? callsFailed : []),
  ];
}

const RECOVERY_LIMIT_MS = 60_000;
