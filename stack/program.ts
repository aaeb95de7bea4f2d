import { constants } from "node:os";
import { describeFailure } from "./problem.ts";
import { createSupervisor, type Supervisor, type SupervisorOptions } from "./supervisor.ts";

export type ProgramOptions = SupervisorOptions & {
  /** The program is meant to run until a signal ends it, so that the first one is no failure (status 0). */
  readonly endsBySignal?: boolean;
};

/**
 * Runs a program that needs processes beside it, and ends this process with the status that the program
 * returns, once all of them have ended. The first SIGINT, SIGTERM or SIGHUP stops them in good order, a
 * second one at once. A failure is shown, as two lines where a person can do something about it.
 */
export async function runSupervised(
  options: ProgramOptions,
  program: (supervisor: Supervisor) => Promise<number>,
): Promise<never> {
  // A terminal that was closed must not end this process by an error before it has stopped the others.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  let status: number;
  try {
    const supervisor = await createSupervisor(options);
    status = await Promise.race([stoppedBySignal(supervisor, options), run(supervisor, program)]);
  } catch (error) {
    console.error(describeFailure(error));
    status = 1;
  }
  process.exit(status);
}

async function run(
  supervisor: Supervisor,
  program: (supervisor: Supervisor) => Promise<number>,
): Promise<number> {
  try {
    const status = await program(supervisor);
    await supervisor.stop();
    return status;
  } catch (error) {
    // What a signal cut short is no failure: the stop that the signal began gives the status.
    if (supervisor.isStopping()) return await forever();
    await supervisor.stop();
    throw error;
  }
}

function stoppedBySignal(supervisor: Supervisor, options: ProgramOptions): Promise<number> {
  const { log, endsBySignal = false } = options;
  return new Promise((resolve, reject) => {
    let count = 0;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        count++;
        if (count === 1) {
          log("stopping; once more to stop at once");
          supervisor
            .stop()
            .then(() => resolve(endsBySignal && count === 1 ? 0 : 128 + constants.signals[signal]), reject);
        } else if (count === 2) {
          log("stopping at once");
          supervisor.stop(true).catch(reject);
        }
      });
    }
  });
}

/** Waits for a signal to end the program. */
export function forever(): Promise<never> {
  return new Promise(() => {});
}
