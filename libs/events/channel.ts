import type { ConfirmChannel } from "amqplib";
import type { Loop } from "#libs/boot";
import type { Broker, Link } from "./broker.ts";
import { endsWithin, pauseUnlessStopped } from "./loop.ts";

export type ChannelOptions = {
  readonly broker: Broker;
  readonly link: Link;
  /** For the log. */
  readonly name: string;
  /** Makes a new channel fit for use: declares, listens, consumes. Runs each time anew. */
  readonly setUp: (channel: ConfirmChannel) => Promise<void>;
  /** Told each time a new channel is there. */
  readonly onReady?: (() => void) | undefined;
};

/** A channel that is made anew whenever it is gone. */
export type KeptChannel = Loop & {
  /** The channel, if there is one that works. */
  current(): ConfirmChannel | undefined;
  /** Gives the channel up, whatever state it is in, and makes another. */
  renew(): void;
};

/**
 * For the first try; a broker that has just started may leave a request without an answer, so a second try
 * comes soon, and each has longer than the one before, for a broker that is slow.
 */
const FIRST_SET_UP_TIMEOUT_MS = 5_000;
const LONGEST_SET_UP_TIMEOUT_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** A broker that does not answer is not waited for. */
const CLOSE_TIMEOUT_MS = 1_000;
const SHORT_LIFE_MS = 1_000;

/** Keeps one channel of the link open and set up until it is stopped. */
export function keepChannel({ broker, link, name, setUp, onReady }: ChannelOptions): KeptChannel {
  const stopping = new AbortController();
  let current: ConfirmChannel | undefined;
  let giveUp = () => {};
  let failures = 0;
  const unwatch = broker.watch(() => current !== undefined);
  const ended = run();

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await useOneChannel();
      } catch (error) {
        if (stopping.signal.aborted) break;
        failures += 1;
        broker.log.warn({ channel: name, err: error, failures }, "a channel could not be set up; trying on");
      }
      if (failures > 0) await pauseUnlessStopped(pauseAfter(failures), stopping.signal);
    }
  }

  async function useOneChannel(): Promise<void> {
    const channel = await link.openChannel();
    const gone = new Promise<void>((resolve) => {
      channel.on("close", resolve);
      giveUp = resolve;
    });
    channel.on("error", (error) => {
      broker.log.warn({ channel: name, err: error }, "the broker closed a channel");
    });
    try {
      if (stopping.signal.aborted) return;
      const ready = setUp(channel);
      const timeoutMs = Math.min(
        FIRST_SET_UP_TIMEOUT_MS * 2 ** Math.min(failures, 10),
        LONGEST_SET_UP_TIMEOUT_MS,
      );
      if (!(await endsWithin(Promise.race([ready, gone]), timeoutMs))) {
        throw new Error(`the broker did not set up a channel within ${timeoutMs} ms`);
      }
      // What the set-up waits for may never be answered when the channel has gone.
      await Promise.race([ready, gone.then(closedEarly)]);
      current = channel;
      const readyAtMs = performance.now();
      onReady?.();
      await gone;
      // A channel that the broker closes as soon as it is used must not be opened again in a tight loop.
      failures = performance.now() - readyAtMs < SHORT_LIFE_MS ? failures + 1 : 0;
    } finally {
      current = undefined;
      await closeQuietly(channel);
    }
  }

  async function stop(): Promise<void> {
    stopping.abort();
    unwatch();
    giveUp();
    await endsWithin(ended, CLOSE_TIMEOUT_MS);
  }

  let stopped: Promise<void> | undefined;
  return {
    current: () => current,
    renew: () => {
      current = undefined;
      giveUp();
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function closedEarly(): never {
  throw new Error("the channel was closed while it was set up");
}

function pauseAfter(failures: number): number {
  return (
    Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures, 10), LONGEST_PAUSE_MS) * (0.75 + Math.random() / 2)
  );
}

async function closeQuietly(channel: ConfirmChannel): Promise<void> {
  try {
    await endsWithin(channel.close(), CLOSE_TIMEOUT_MS);
  } catch {
    // It was closed already.
  }
}
