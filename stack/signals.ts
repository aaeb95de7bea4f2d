import { constants } from "node:os";
import type { Supervisor } from "./supervisor.ts";

/**
 * Stops a supervisor's processes at the first SIGINT, SIGTERM or SIGHUP in good order, and at a second one in a hurry.
 * Resolves once all have ended: with 0 after one signal, and with the status that a shell gives to the signal after two.
 */
export function stoppedBySignal(supervisor: Supervisor, log: (line: string) => void): Promise<number> {
  // A terminal that was closed must not end the stack by an error before it has stopped its parts.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  return new Promise((resolve, reject) => {
    let count = 0;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        count++;
        if (count === 1) {
          log("stopping; once more to stop at once");
          supervisor.stop().then(() => resolve(count === 1 ? 0 : 128 + constants.signals[signal]), reject);
        } else if (count === 2) {
          log("stopping at once");
          supervisor.stop(true).catch(reject);
        }
      });
    }
  });
}
