import type { ConfirmChannel, Options } from "amqplib";
import type { Loop } from "#libs/boot";
import { RenewedSet } from "#libs/renewed";
import type { Broker } from "./broker.ts";
import { keepChannel } from "./channel.ts";
import { declareSharedTopology, EVENTS_EXCHANGE } from "./topology.ts";

/** A message on its way to an exchange. */
export type Outgoing = {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Uint8Array;
  readonly mandatory: boolean;
  readonly messageId: string;
  readonly type: string;
  /** Seconds since 1970. */
  readonly timestamp?: number | undefined;
  readonly correlationId?: string | undefined;
  readonly headers: Readonly<Record<string, string | number>>;
};

/**
 * What became of a message: the broker has it ("confirmed"), no queue wanted it though it was mandatory
 * ("returned"), or nobody knows ("unconfirmed": it may have arrived, and has to be sent again).
 */
export type SendOutcome = "confirmed" | "returned" | "unconfirmed";

/** Sends messages and tells of each what became of it. */
export type Publisher = Loop & {
  /** Whether it makes sense to send now. */
  isReady(): boolean;
  /** Never rejects. */
  send(message: Outgoing): Promise<SendOutcome>;
};

export type PublisherOptions = {
  readonly broker: Broker;
  readonly name: string;
  /** Told each time when messages can be sent again. */
  readonly onReady?: (() => void) | undefined;
};

/** A broker that keeps a message unconfirmed for longer has lost it, or the majority of a queue. */
const CONFIRM_TIMEOUT_MS = 30_000;
const CONFIRM_CHECK_MS = 5_000;

type Waiting = { readonly sentAtMs: number; readonly settle: (outcome: SendOutcome) => void };

/** Opens a channel with publisher confirms; each time it is opened the shared topology is declared first. */
export function createPublisher({ broker, name, onReady }: PublisherOptions): Publisher {
  const waiting = new RenewedSet<Waiting>();
  // The broker returns a message just before it confirms it.
  const returned = new Set<string>();
  const kept = keepChannel({ broker, link: broker.publishing, name, setUp, onReady });
  const watchdog = setInterval(giveUpOnSilence, CONFIRM_CHECK_MS);

  async function setUp(channel: ConfirmChannel): Promise<void> {
    await declareSharedTopology(channel);
    channel.on("return", (message) => returned.add(String(message.properties.messageId)));
  }

  function isReady(): boolean {
    return kept.current() !== undefined && !broker.publishing.isBlocked();
  }

  function send(message: Outgoing): Promise<SendOutcome> {
    const channel = kept.current();
    if (!channel) return Promise.resolve("unconfirmed");
    return new Promise((resolve) => {
      const entry = {
        sentAtMs: performance.now(),
        settle: (outcome: SendOutcome) => {
          waiting.delete(entry);
          resolve(outcome);
        },
      };
      waiting.add(entry);
      const onConfirm = (error: unknown) => {
        const wasReturned = returned.delete(message.messageId);
        entry.settle(error ? "unconfirmed" : wasReturned ? "returned" : "confirmed");
        if (wasReturned && isShared(message.exchange)) kept.renew();
      };
      try {
        channel.publish(
          message.exchange,
          message.routingKey,
          bufferOf(message.body),
          asOptions(message),
          onConfirm,
        );
      } catch (error) {
        // The channel has been closed a moment ago, or the message can't be encoded: it stays where it was
        // either way.
        broker.log.warn(
          { publisher: name, messageId: message.messageId, err: error },
          "a message was not sent",
        );
        entry.settle("unconfirmed");
      }
    });
  }

  function giveUpOnSilence(): void {
    const [oldest] = waiting;
    if (!oldest || broker.publishing.isBlocked()) return;
    if (performance.now() - oldest.sentAtMs < CONFIRM_TIMEOUT_MS) return;
    broker.log.warn(
      { publisher: name, waiting: waiting.size },
      "the broker does not confirm; opening another channel",
    );
    kept.renew();
    for (const entry of waiting) entry.settle("unconfirmed");
  }

  async function stop(): Promise<void> {
    clearInterval(watchdog);
    await kept.stop();
    for (const entry of waiting) entry.settle("unconfirmed");
  }

  let stopped: Promise<void> | undefined;
  return {
    isReady,
    send,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

// Behind these exchanges stands a queue that the set-up of the channel declares: somebody has deleted it.
function isShared(exchange: string): boolean {
  return exchange !== EVENTS_EXCHANGE && exchange !== "";
}

function asOptions(message: Outgoing): Options.Publish {
  return {
    mandatory: message.mandatory,
    persistent: true,
    contentType: "application/x-protobuf",
    messageId: message.messageId,
    type: message.type,
    headers: message.headers,
    ...(message.timestamp === undefined ? {} : { timestamp: message.timestamp }),
    ...(message.correlationId === undefined ? {} : { correlationId: message.correlationId }),
  };
}

function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
