/**
 * `make bench`: measures the whole system on durable data, prints what it found, and keeps it in
 * bench/results. `SCENARIO=hot,orders` chooses; `--quick` is the short form, whose status says whether a
 * figure is far off.
 */
import { makeThrowAwayFolder } from "../stack/folder.ts";
import { runSupervised } from "../stack/program.ts";
import { watchDisk } from "./disk.ts";
import { isFarOff } from "./figures/target.ts";
import { type Ground, type Pace, prepareGround } from "./ground.ts";
import { describeScenario, openReport, type ScenarioReport } from "./report.ts";
import { keepResults } from "./results.ts";
import { chooseScenarios, type Scenario } from "./scenarios.ts";
import { yardstickMs } from "./yardstick.ts";

const FULL: Pace = { quick: false, rounds: 5, warmUpMs: 250, sliceMs: 1_100 };
const QUICK: Pace = { quick: true, rounds: 3, warmUpMs: 100, sliceMs: 400 };

async function runScenario(scenario: Scenario, ground: Ground): Promise<ScenarioReport> {
  const { report, notes } = openReport(scenario.name);
  const startedAt = performance.now();
  const before = yardstickMs();
  const disk = watchDisk(ground.supervisor.folder);
  try {
    await scenario.run(ground, notes);
  } catch (error) {
    notes.check(
      "it ran to its end",
      false,
      error instanceof Error ? (error.stack ?? error.message) : String(error),
    );
  }
  notes.measure("one byte's way to the disk, 20 times a second", "ms", await disk.stop());
  notes.measure("yardstick: processor time of a fixed piece of work", "ms", [before, yardstickMs()]);
  report.seconds = (performance.now() - startedAt) / 1_000;
  console.log(`\n${describeScenario(report)}`);
  return report;
}

function judgeRun(reports: readonly ScenarioReport[], pace: Pace): number {
  const wrong = reports.flatMap(({ checks }) => checks).filter(({ isRight }) => !isRight).length;
  const judged = reports.flatMap((report) => report.judged);
  const missed = judged.filter(({ verdict }) => verdict === "missed");
  const farOff = judged.filter(isFarOff);
  console.log(`\n${judged.length - missed.length} of ${judged.length} figures reach what they must`);
  for (const { goal } of missed) console.log(`  missed: ${goal.name}`);
  if (wrong > 0) console.log(`${wrong} checks found something wrong: the figures don't count`);
  if (wrong > 0) return 1;
  return pace.quick && farOff.length > 0 ? 1 : 0;
}

async function main(): Promise<void> {
  const startedAt = performance.now();
  const quick = process.argv.includes("--quick");
  const pace = quick ? QUICK : FULL;
  const scenarios = chooseScenarios(process.env["SCENARIO"], quick);
  const log = (line: string) => {
    console.error(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s  ${line}`);
  };
  const folder = makeThrowAwayFolder("bench");
  await runSupervised({ folder, throwAway: true, log }, async (supervisor) => {
    const ground = await prepareGround(supervisor, pace, log);
    const reports: ScenarioReport[] = [];
    for (const scenario of scenarios) {
      log(`${scenario.name}: ${scenario.about}`);
      reports.push(await runScenario(scenario, ground));
    }
    await ground.close();
    const status = judgeRun(reports, pace);
    if (!quick) keepResults(reports);
    return status;
  });
}

await main();
