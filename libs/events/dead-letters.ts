import { setTimeout as pause } from "node:timers/promises";
import { fromBinary, type JsonValue, type Registry, toJson } from "@bufbuild/protobuf";
import { type ConfirmChannel, connect, type GetMessage, type Message } from "amqplib";
import { header, headerOf, metaOf, ownHeadersOf, textOr } from "./message.ts";
import { deadQueueOf } from "./topology.ts";

/** A message that was put aside, for a person to decide about. */
export type DeadLetter = {
  readonly messageId: string;
  readonly type: string;
  readonly tenant: string;
  /** The queue that it goes back to when it is replayed. */
  readonly queue: string;
  /**
   * A name for programs: UNKNOWN_TYPE, UNDECODABLE, RETRIES_USED_UP, DELIVERY_LIMIT, or what its handler
   * said.
   */
  readonly reason: string;
  /** The error's own words. */
  readonly detail: string;
  readonly deadTime: Date | undefined;
  readonly correlationId: string | undefined;
  /** The body as JSON, where the registry knows its type and the bytes are one. */
  readonly body: JsonValue | undefined;
  readonly bytes: Uint8Array;
};

export type DeadLetterOptions = {
  readonly url: string;
  /** Knows the types of the bodies. */
  readonly registry: Registry;
};

/** How many were given back, and how many stay because their queue does not exist. */
export type Replayed = { readonly replayed: number; readonly kept: number };

/** Work on dead letters; `queue` is the consumer's queue, such as `holdfast.inventory.orders`. */
export type DeadLetters = {
  /** How many there are; 0 where the queue was never made. */
  count(queue: string): Promise<number>;
  /** The oldest up to `limit`; they stay where they are. */
  list(queue: string, limit?: number): Promise<DeadLetter[]>;
  /** One by its id, or nothing. */
  show(queue: string, messageId: string): Promise<DeadLetter | undefined>;
  /** Gives one back to its queue, with all its retries before it; false if there is none of that id. */
  replay(queue: string, messageId: string): Promise<boolean>;
  /** Gives back all that are there now, up to 10,000; those whose queue does not exist stay. */
  replayAll(queue: string): Promise<Replayed>;
  /** Removes one for good and returns it, so that the caller can record it with the reason. */
  drop(queue: string, messageId: string): Promise<DeadLetter | undefined>;
  close(): Promise<void>;
};

/** A look at more would hold them all in memory. */
const LOOK_LIMIT = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
const PUT_BACK_TIMEOUT_MS = 2_000;
const PUT_BACK_POLL_MS = 10;
const NOT_FOUND = 404;

type Decision = "keep" | "remove";

/** Connects to the broker for work on dead letters; throws when it is not there. */
export async function openDeadLetters({ url, registry }: DeadLetterOptions): Promise<DeadLetters> {
  const connection = await connect(url, { timeout: CONNECT_TIMEOUT_MS });
  // What breaks the connection makes the call under way fail; without a listener it would end the process.
  connection.on("error", () => {});

  async function onChannel<Result>(work: (channel: ConfirmChannel) => Promise<Result>): Promise<Result> {
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {});
    try {
      return await work(channel);
    } finally {
      // What was looked at and not acknowledged goes back to its place; a channel that failed is closed
      // already.
      await channel.close().catch(() => {});
    }
  }

  async function count(queue: string): Promise<number> {
    try {
      return await onChannel(async (channel) => (await channel.checkQueue(deadQueueOf(queue))).messageCount);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === NOT_FOUND) return 0;
      throw error;
    }
  }

  // Takes all that is there before it acts on any, so that what comes back dead is not met again.
  async function walk(
    queue: string,
    limit: number,
    visit: (message: GetMessage, channel: ConfirmChannel) => Decision | Promise<Decision>,
  ): Promise<void> {
    if ((await count(queue)) === 0) return;
    await onChannel(async (channel) => {
      const messages = await take(channel, deadQueueOf(queue), limit);
      const kept = new Set(messages);
      try {
        for (const message of messages) {
          if ((await visit(message, channel)) === "keep") continue;
          channel.ack(message);
          kept.delete(message);
        }
      } finally {
        await putBack(channel, deadQueueOf(queue), [...kept]);
      }
    });
  }

  async function list(queue: string, limit = LOOK_LIMIT): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = [];
    await walk(queue, limit, (message) => {
      letters.push(letterOf(message, registry));
      return "keep";
    });
    return letters;
  }

  async function withOne(
    queue: string,
    messageId: string,
    act: (message: GetMessage, channel: ConfirmChannel) => Decision | Promise<Decision>,
  ): Promise<DeadLetter | undefined> {
    let found: DeadLetter | undefined;
    await walk(queue, LOOK_LIMIT, async (message, channel) => {
      if (found || metaOf(message).messageId !== messageId) return "keep";
      found = letterOf(message, registry);
      return await act(message, channel);
    });
    return found;
  }

  return {
    count,
    list,
    show: (queue, messageId) => withOne(queue, messageId, () => "keep"),
    replay: async (queue, messageId) => {
      const found = await withOne(queue, messageId, async (message, channel) => {
        const decision = await giveBack(message, channel);
        if (decision === "remove") return decision;
        throw new Error(
          `the queue ${message.fields.routingKey} does not exist: its message stays a dead letter`,
        );
      });
      return found !== undefined;
    },
    replayAll: async (queue) => {
      let [replayed, kept] = [0, 0];
      await walk(queue, LOOK_LIMIT, async (message, channel) => {
        const decision = await giveBack(message, channel);
        if (decision === "remove") replayed += 1;
        else kept += 1;
        return decision;
      });
      return { replayed, kept };
    },
    drop: (queue, messageId) => withOne(queue, messageId, () => "remove"),
    // It may be closed already, by the broker.
    close: () => connection.close().catch(() => {}),
  };
}

async function take(channel: ConfirmChannel, deadQueue: string, limit: number): Promise<GetMessage[]> {
  const messages: GetMessage[] = [];
  while (messages.length < limit) {
    const message = await channel.get(deadQueue);
    if (message === false) break;
    messages.push(message);
  }
  return messages;
}

// The broker puts back in its own time; the next look shall find them all.
async function putBack(
  channel: ConfirmChannel,
  deadQueue: string,
  kept: readonly GetMessage[],
): Promise<void> {
  for (const message of kept) channel.nack(message, false, true);
  const deadline = performance.now() + PUT_BACK_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if ((await channel.checkQueue(deadQueue)).messageCount >= kept.length) return;
    await pause(PUT_BACK_POLL_MS);
  }
}

// Publishes first and removes after the confirm: a crash in between leaves the message twice, not nowhere. It
// is kept if its queue does not exist.
async function giveBack(message: GetMessage, channel: ConfirmChannel): Promise<Decision> {
  const { properties, fields, content } = message;
  const headers = ownHeadersOf(message);
  for (const name of [header.deadReason, header.deadDetail, header.deadTime, header.retries])
    delete headers[name];
  let returned = false;
  const onReturn = () => {
    returned = true;
  };
  channel.on("return", onReturn);
  await new Promise<void>((resolve, reject) => {
    const options = {
      mandatory: true,
      persistent: true,
      headers,
      contentType: textOr(properties.contentType, "application/x-protobuf"),
      messageId: textOr(properties.messageId, ""),
      type: textOr(properties.type, ""),
      ...(typeof properties.timestamp === "number" ? { timestamp: properties.timestamp } : {}),
      ...(typeof properties.correlationId === "string" ? { correlationId: properties.correlationId } : {}),
    };
    channel.publish("", fields.routingKey, content, options, (error) => {
      if (error) reject(new Error("the broker did not take the message back", { cause: error }));
      else resolve();
    });
  });
  channel.off("return", onReturn);
  return returned ? "keep" : "remove";
}

function letterOf(message: GetMessage, registry: Registry): DeadLetter {
  const meta = metaOf(message);
  const deathOfBroker = message.properties.headers?.["x-death"]?.[0];
  const deadTime = textOr(headerOf(message, header.deadTime), undefined);
  return {
    messageId: meta.messageId,
    type: meta.type,
    tenant: meta.tenant,
    queue: message.fields.routingKey,
    reason: textOr(headerOf(message, header.deadReason), (deathOfBroker?.reason ?? "unknown").toUpperCase()),
    detail: textOr(headerOf(message, header.deadDetail), ""),
    deadTime: deadTime ? new Date(deadTime) : deathOfBroker && new Date(deathOfBroker.time.value * 1_000),
    correlationId: meta.correlationId,
    body: bodyOf(message, registry),
    bytes: message.content,
  };
}

function bodyOf(message: Message, registry: Registry): JsonValue | undefined {
  const schema = registry.getMessage(metaOf(message).type);
  if (!schema) return undefined;
  try {
    return toJson(schema, fromBinary(schema, message.content), { registry });
  } catch {
    // An undecodable body is one of the reasons for being here; its bytes are shown instead.
    return undefined;
  }
}
