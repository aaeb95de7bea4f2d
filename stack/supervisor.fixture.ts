/** A small stack in a process of its own, for tests to kill: two quiet processes and a stubborn one. */
import { stoppedBySignal } from "./signals.ts";
import { createSupervisor } from "./supervisor.ts";
import { planSleeper, planStubborn } from "./testing.ts";

const [folder = "", throwAway = "no"] = process.argv.slice(2);
const log = (line: string) => console.log(line);
const supervisor = await createSupervisor({ folder, throwAway: throwAway === "yes", log });
const stopped = stoppedBySignal(supervisor, log);
await supervisor.start(planSleeper("first"));
await supervisor.start(planSleeper("second"));
await supervisor.start(planStubborn("stubborn", 60_000));
log("running");
process.exit(await stopped);
