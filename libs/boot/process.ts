import type { Logger } from "pino";

/** A running service, as its process sees it. */
export type Stoppable = {
  /** Drains: answers what was accepted, gives back what was not, closes what was opened. */
  stop(): Promise<void>;
};

/** The longest drain; a process that has not stopped by then stops at once. */
const STOP_TIMEOUT_MS = 28_000;

/**
 * Starts a service and keeps the process to it: SIGTERM and SIGINT drain it and end with status 0; a failed
 * start, an error that nobody handled or a drain that does not end say so in the log and end with status 1.
 */
export async function runProcess(log: Logger, start: () => Promise<Stoppable>): Promise<void> {
  const end = (status: number): never => process.exit(status);

  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "an error was not handled: the process ends");
    end(1);
  });

  let service: Stoppable;
  try {
    service = await start();
  } catch (error) {
    log.fatal({ err: error }, "the service could not be started");
    return end(1);
  }

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    setTimeout(() => {
      log.fatal("the drain did not end: the process ends");
      end(1);
    }, STOP_TIMEOUT_MS).unref();
    service.stop().then(
      () => {
        log.info("stopped");
        end(0);
      },
      (error: unknown) => {
        log.fatal({ err: error }, "the drain failed");
        end(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}
