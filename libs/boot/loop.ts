import type { Logger } from "pino";

/** Something that works on its own until it is stopped. A second stop waits for the first. */
export type Loop = { stop(): Promise<void> };

export type LoopOptions = {
  /** For the log. */
  readonly name: string;
  /** The pause between two rounds. */
  readonly intervalMs: number;
  /** One round; true if there is more to do at once. */
  readonly work: () => Promise<boolean>;
  readonly log: Logger;
};

/** After a failed round the pause doubles up to this. */
const MAX_PAUSE_MS = 30_000;

/**
 * Runs `work` again and again, with a pause whenever there is nothing more to do and a longer one after a
 * failure.
 */
export function startLoop({ name, intervalMs, work, log }: LoopOptions): Loop {
  let stopping = false;
  let wake: (() => void) | undefined;

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (stopping) wake();
    });
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping) {
      try {
        const more = await work();
        failures = 0;
        if (!more) await pause(intervalMs);
      } catch (error) {
        failures += 1;
        log.error({ loop: name, failures, err: error }, "a round failed and is tried again");
        await pause(Math.min(intervalMs * 2 ** failures, MAX_PAUSE_MS));
      }
    }
  }

  const done = run();
  return {
    stop: () => {
      stopping = true;
      wake?.();
      return done;
    },
  };
}
