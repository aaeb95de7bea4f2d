import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { ConsumeMessage } from "amqplib";
import type { Logger } from "pino";
import type { Loop } from "#libs/boot";
import type { Broker } from "./broker.ts";
import { consumeDeliveries, type Verdict } from "./deliveries.ts";
import { ImpossibleMessage } from "./impossible.ts";
import type { MessageMeta } from "./message.ts";
import type { EventMetrics } from "./metrics.ts";

/** What is done with the events of one type; made by `on`. */
export type EventHandler = {
  readonly type: string;
  /** Decodes the body, and gives the work that is left to do. */
  readonly read: (body: Uint8Array) => (meta: MessageMeta) => Promise<void>;
};

export type ConsumerOptions = {
  readonly broker: Broker;
  /** `holdfast.inventory.orders`; made if it isn't there, and bound to the types of the handlers. */
  readonly queue: string;
  readonly handlers: readonly EventHandler[];
  readonly log: Logger;
  readonly metrics?: EventMetrics | undefined;
  /** Most events that are handled at once; 256 if absent. */
  readonly prefetch?: number;
  /** How long a stop waits for the handlers under way; 20 s if absent. */
  readonly drainTimeoutMs?: number;
  /** Told when the queue was not there and was made: the first time of all, or because the broker lost it. */
  readonly onQueueMade?: () => void;
};

/** As many as one batch takes, so that a full one commits together. */
export const PREFETCH = 256;
export const DRAIN_TIMEOUT_MS = 20_000;

/**
 * Binds a handler to the events of one type. It may see an event twice, late and out of order; it is tried
 * again after every error but an ImpossibleMessage.
 */
export function on<Desc extends DescMessage>(
  schema: Desc,
  handle: (event: MessageShape<Desc>, meta: MessageMeta) => Promise<void>,
): EventHandler {
  return {
    type: schema.typeName,
    read: (body) => {
      const event = fromBinary(schema, body);
      return (meta) => handle(event, meta);
    },
  };
}

/**
 * Consumes a queue of events until it is stopped; see consumeDeliveries for what happens to those that fail.
 */
export function createConsumer(options: ConsumerOptions): Loop {
  const handlers = new Map(options.handlers.map((handler) => [handler.type, handler]));

  async function process(message: ConsumeMessage, meta: MessageMeta): Promise<Verdict> {
    const handler = handlers.get(meta.type);
    if (!handler)
      throw new ImpossibleMessage("UNKNOWN_TYPE", `nothing here handles messages of type "${meta.type}"`);
    requireTenant(meta);
    await readOrRefuse(handler, message.content)(meta);
    return "done";
  }

  return consumeDeliveries({
    broker: options.broker,
    queue: options.queue,
    routingKeys: [...handlers.keys()],
    prefetch: options.prefetch ?? PREFETCH,
    drainTimeoutMs: options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS,
    process,
    log: options.log,
    metrics: options.metrics,
    onQueueMade: options.onQueueMade,
  });
}

/** Refuses a message that does not say whose it is. */
export function requireTenant(meta: MessageMeta): void {
  if (meta.tenant === "") throw new ImpossibleMessage("TENANT_MISSING", "the message has no tenant header");
}

function readOrRefuse(handler: EventHandler, body: Uint8Array): (meta: MessageMeta) => Promise<void> {
  try {
    return handler.read(body);
  } catch (error) {
    throw new ImpossibleMessage("UNDECODABLE", `the body is not a ${handler.type}`, { cause: error });
  }
}
