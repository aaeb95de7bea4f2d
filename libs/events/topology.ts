import type { Channel } from "amqplib";
import { type Rung, rungFor, rungs } from "./ladder.ts";

/** Topic exchange of all events; the routing key is the event's full proto name. */
export const EVENTS_EXCHANGE = "holdfast.events";
/** Where a message goes when its rung is over; the routing key is the queue that it waits for. */
export const WAKE_EXCHANGE = "holdfast.wake";
/** Where messages are put aside; the routing key is the queue whose consumer could not work them. */
export const DEAD_EXCHANGE = "holdfast.dead";

/** Takes messages that woke up for a queue that exists no more. */
const LOST_EXCHANGE = "holdfast.lost";
/** The queue name under which their dead letters are listed. */
export const LOST_QUEUE = "holdfast.lost";

/**
 * How often the broker itself delivers a message again (its consumer died or lost the connection) before it
 * is dead.
 */
const DELIVERY_LIMIT = 10;
/**
 * Looking at dead letters gives them back, which counts as a delivery; RabbitMQ 4 drops after 20 where
 * nothing is set. This is "never" in a form that 3.10 takes too.
 */
const NO_DELIVERY_LIMIT = 1_000_000_000;

const durable = { durable: true, autoDelete: false };

/** The exchange that feeds a rung: one for each, so that the routing key stays free for the destination. */
export function delayExchangeOf(rung: Rung): string {
  return `holdfast.delay.${rung.name}`;
}

/**
 * Where to send what shall reach `queue` in `remainingMs`: to the rung that fits, or straight to the queue.
 */
export function wayOf(
  queue: string,
  remainingMs: number,
): { readonly exchange: string; readonly routingKey: string; readonly mandatory: true } {
  const rung = rungFor(remainingMs);
  // The default exchange routes by the queue's name and, unlike the wake exchange, tells when there is none.
  return { exchange: rung ? delayExchangeOf(rung) : "", routingKey: queue, mandatory: true };
}

/** The queue in which the dead letters of a consumer's queue lie. */
export function deadQueueOf(queue: string): string {
  return `${queue}.dead`;
}

/**
 * Declares what all services share: exchanges and the delay ladder. Safe to repeat; fails if it exists
 * differently.
 */
export async function declareSharedTopology(channel: Channel): Promise<void> {
  await Promise.all([
    channel.assertExchange(EVENTS_EXCHANGE, "topic", durable),
    channel.assertExchange(DEAD_EXCHANGE, "direct", durable),
    channel.assertExchange(LOST_EXCHANGE, "fanout", durable),
    // Without the alternate, messages for a queue that is gone would fill the dead-lettering window of their
    // rung (32 messages) and stop it for everybody.
    channel.assertExchange(WAKE_EXCHANGE, "direct", { ...durable, alternateExchange: LOST_EXCHANGE }),
    assertDeadQueue(channel, LOST_QUEUE),
    channel.bindQueue(deadQueueOf(LOST_QUEUE), LOST_EXCHANGE, ""),
    ...rungs.map((rung) => declareRung(channel, rung)),
  ]);
}

/** Declares a consumer's queue with its bindings, its place on the wake exchange and its dead letters. */
export async function declareConsumerQueue(
  channel: Channel,
  queue: string,
  routingKeys: readonly string[],
): Promise<void> {
  await Promise.all([
    assertDeadQueue(channel, queue),
    channel.bindQueue(deadQueueOf(queue), DEAD_EXCHANGE, queue),
    channel.assertQueue(queue, {
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_EXCHANGE,
        "x-dead-letter-routing-key": queue,
        ...neverLoses,
      },
    }),
    channel.bindQueue(queue, WAKE_EXCHANGE, queue),
    ...routingKeys.map((key) => channel.bindQueue(queue, EVENTS_EXCHANGE, key)),
  ]);
}

// A dead-lettered message leaves its queue only once the next one has it; that mode needs this overflow
// behaviour.
const neverLoses = {
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

async function declareRung(channel: Channel, rung: Rung): Promise<void> {
  const name = delayExchangeOf(rung);
  await Promise.all([
    channel.assertExchange(name, "fanout", durable),
    channel.assertQueue(name, {
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        "x-message-ttl": rung.delayMs,
        "x-dead-letter-exchange": WAKE_EXCHANGE,
        ...neverLoses,
      },
    }),
    channel.bindQueue(name, name, ""),
  ]);
}

async function assertDeadQueue(channel: Channel, queue: string): Promise<void> {
  await channel.assertQueue(deadQueueOf(queue), {
    durable: true,
    arguments: { "x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT },
  });
}
