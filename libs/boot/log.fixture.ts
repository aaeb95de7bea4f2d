/** `node log.fixture.ts TURNS LINES`: logs so many lines in each of so many turns, and exits at once. */
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { createLogger } from "./log.ts";

const [turns, lines] = process.argv.slice(2).map(Number);
const log = createLogger({ instance: "fixture", level: "info" });
for (let turn = 0; turn < (turns ?? 0); turn += 1) {
  for (let line = 0; line < (lines ?? 0); line += 1) log.info({ turn, line }, "a line");
  if (turn + 1 < (turns ?? 0)) await turnOfTheLoop();
}
process.exit();
