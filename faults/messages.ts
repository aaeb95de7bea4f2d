import { setTimeout as pause } from "node:timers/promises";
import { connect, type GetMessage } from "amqplib";

const POLL_MS = 50;

/** Takes so many messages out of a queue that nobody consumes, and waits for those that are still to come. */
export async function takeAll(
  amqpUrl: string,
  queue: string,
  count: number,
  timeoutMs: number,
): Promise<GetMessage[]> {
  const connection = await connect(amqpUrl);
  try {
    const channel = await connection.createChannel();
    const deadline = performance.now() + timeoutMs;
    const messages: GetMessage[] = [];
    while (messages.length < count) {
      const message = await channel.get(queue, { noAck: true });
      if (message !== false) messages.push(message);
      else if (performance.now() > deadline) throw new Error(`${messages.length} of ${count} messages came`);
      else await pause(POLL_MS);
    }
    return messages;
  } finally {
    await connection.close();
  }
}

/** Puts messages into a queue in this order, as they were. */
export async function republishShuffled(
  amqpUrl: string,
  queue: string,
  messages: readonly GetMessage[],
): Promise<void> {
  const connection = await connect(amqpUrl);
  try {
    const channel = await connection.createConfirmChannel();
    for (const { content, properties } of messages) {
      channel.sendToQueue(queue, content, {
        persistent: true,
        messageId: String(properties.messageId),
        type: String(properties.type),
        timestamp: Number(properties.timestamp),
        headers: properties.headers ?? {},
      });
    }
    await channel.waitForConfirms();
  } finally {
    await connection.close();
  }
}
