/** A small stack in a process of its own, for tests to kill: two quiet processes and a stubborn one. */
import { forever, runSupervised } from "./program.ts";
import { planSleeper, planStubborn } from "./testing.ts";

const [folder = "", throwAway = "no"] = process.argv.slice(2);
const log = (line: string) => console.log(line);
await runSupervised(
  { folder, throwAway: throwAway === "yes", endsBySignal: true, log },
  async (supervisor) => {
    await supervisor.start(planSleeper("first"));
    await supervisor.start(planSleeper("second"));
    await supervisor.start(planStubborn("stubborn", 60_000));
    log("running");
    return await forever();
  },
);
