import type { Ground } from "./ground.ts";
import type { Notes } from "./report.ts";
import { measureExpiry } from "./scenarios/expiry.ts";
import { measureFloor } from "./scenarios/floor.ts";
import { measureGrown } from "./scenarios/grown.ts";
import { measureLone } from "./scenarios/lone.ts";
import { measureOrders, measurePlacing, measureTransactions } from "./scenarios/orders.ts";
import { measureOverload } from "./scenarios/overload.ts";
import { measureProfile } from "./scenarios/profile.ts";
import { measureBaskets, measureHot, measureUniform } from "./scenarios/reservations.ts";
import { measureRpc } from "./scenarios/rpc.ts";
import { measureSoak } from "./scenarios/soak.ts";

/** Something that is measured and checked as a whole. */
export type Scenario = {
  readonly name: string;
  readonly about: string;
  /** Whether it runs when nobody asks for it by name: in the full form, and in the quick one. */
  readonly runsBy: "default" | "full" | "name";
  readonly run: (ground: Ground, notes: Notes) => Promise<void>;
};

const scenarios: readonly Scenario[] = [
  { name: "rpc", about: "unary gRPC with a trivial handler", runsBy: "default", run: measureRpc },
  { name: "lone", about: "a lone caller's latency", runsBy: "default", run: measureLone },
  { name: "hot", about: "reservations of one sku", runsBy: "default", run: measureHot },
  { name: "uniform", about: "reservations over 1,000 skus", runsBy: "default", run: measureUniform },
  { name: "baskets", about: "five lines a call", runsBy: "full", run: measureBaskets },
  { name: "floor", about: "the database alone", runsBy: "default", run: measureFloor },
  { name: "orders", about: "orders by three ways in", runsBy: "default", run: measureOrders },
  { name: "placing", about: "what an order over JSON costs", runsBy: "default", run: measurePlacing },
  { name: "transactions", about: "transactions an order", runsBy: "default", run: measureTransactions },
  { name: "overload", about: "three times the capacity", runsBy: "default", run: measureOverload },
  { name: "expiry", about: "orders that fall due at once", runsBy: "default", run: measureExpiry },
  { name: "profile", about: "where the time goes", runsBy: "full", run: measureProfile },
  { name: "grown", about: "tables that have grown for long", runsBy: "name", run: measureGrown },
  { name: "soak", about: "ten minutes at half the load", runsBy: "name", run: measureSoak },
];

/** The scenarios that `chosen` names, separated by commas, or those of the form when it names none. */
export function chooseScenarios(chosen: string | undefined, quick: boolean): readonly Scenario[] {
  if (!chosen) {
    return scenarios.filter(({ runsBy }) => runsBy === "default" || (runsBy === "full" && !quick));
  }
  return chosen.split(",").map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name);
    if (found) return found;
    throw new Error(
      `there is no scenario "${name}": ${scenarios.map((scenario) => scenario.name).join(", ")}`,
    );
  });
}
