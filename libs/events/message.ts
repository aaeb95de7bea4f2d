import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Message } from "amqplib";
import { uuidv7 } from "#libs/db";

/**
 * A row of the outbox: an event for everybody who is bound to its type, or a nudge for one queue at a time.
 */
export type OutboxMessage = {
  /** A UUIDv7; the AMQP message_id, by which a consumer may recognise a repetition. */
  readonly outboxId: string;
  readonly tenant: string;
  /** The full proto name. */
  readonly type: string;
  readonly body: Uint8Array;
  /** Whether somebody must get it: it is then kept and sent again until a queue takes it. */
  readonly mandatory: boolean;
  readonly correlationId: string | undefined;
  readonly traceparent: string | undefined;
  /** With a nudge only. */
  readonly nudge: { readonly queue: string; readonly dueTime: Date } | undefined;
};

export type EventOptions = {
  readonly tenant: string;
  /** True for events that a consumer must get; false where it is fine that nobody listens. */
  readonly mandatory: boolean;
  readonly correlationId?: string | undefined;
  readonly traceparent?: string | undefined;
};

/** Makes the outbox row of an event. */
export function toOutbox<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  options: EventOptions,
): OutboxMessage {
  return {
    outboxId: uuidv7(),
    tenant: options.tenant,
    type: schema.typeName,
    body: toBinary(schema, message),
    mandatory: options.mandatory,
    correlationId: options.correlationId,
    traceparent: options.traceparent,
    nudge: undefined,
  };
}

export type NudgeOptions<Desc extends DescMessage> = {
  readonly schema: Desc;
  readonly message: MessageShape<Desc>;
  readonly tenant: string;
  readonly dueTime: Date;
  /** The queue of the nudges' consumer. */
  readonly destination: string;
};

/** Makes the outbox row of a nudge: a message that reaches the queue `destination` at `dueTime`. */
export function nudgeToOutbox<Desc extends DescMessage>(options: NudgeOptions<Desc>): OutboxMessage {
  return {
    outboxId: uuidv7(),
    tenant: options.tenant,
    type: options.schema.typeName,
    body: toBinary(options.schema, options.message),
    mandatory: true,
    correlationId: undefined,
    traceparent: undefined,
    nudge: { queue: options.destination, dueTime: options.dueTime },
  };
}

/** What the headers of our messages are called. */
export const header = {
  tenant: "tenant",
  traceparent: "traceparent",
  /** How often a handler has failed at this message. */
  retries: "retries",
  /** When a nudge is due, in milliseconds since 1970. */
  dueTime: "due-time",
  deadReason: "dead-reason",
  deadDetail: "dead-detail",
  deadTime: "dead-time",
} as const;

/** What a handler knows of a message beside its body. */
export type MessageMeta = {
  readonly messageId: string;
  readonly type: string;
  readonly tenant: string;
  /** When the event was written, to the second. */
  readonly time: Date | undefined;
  readonly correlationId: string | undefined;
  readonly traceparent: string | undefined;
  /** How often a handler has failed at it before. */
  readonly retries: number;
};

/** Reads the properties of a message, whoever sent it: what is missing or of the wrong kind is left empty. */
export function metaOf(message: Message): MessageMeta {
  const { properties } = message;
  const time: unknown = properties.timestamp;
  return {
    messageId: textOr(properties.messageId, ""),
    type: textOr(properties.type, ""),
    tenant: textOr(headerOf(message, header.tenant), ""),
    time: typeof time === "number" ? new Date(time * 1_000) : undefined,
    correlationId: textOr(properties.correlationId, undefined),
    traceparent: textOr(headerOf(message, header.traceparent), undefined),
    retries: numberOr(headerOf(message, header.retries), 0),
  };
}

/** A header as it came. */
export function headerOf(message: Message, name: string): unknown {
  return message.properties.headers?.[name];
}

/** The headers that go with a message to its next place: all but the broker's own. */
export function ownHeadersOf(message: Message): Record<string, string | number> {
  const own: Record<string, string | number> = {};
  for (const [name, value] of Object.entries<unknown>(message.properties.headers ?? {})) {
    // Where a message has died before (x-death) would make the broker see a circle in its walk.
    if (name.startsWith("x-")) continue;
    if (typeof value === "string" || typeof value === "number") own[name] = value;
  }
  return own;
}

/** The longest text of an error that is put into a header. */
const DETAIL_LENGTH = 1_000;

/** The headers that tell why a message was put aside. */
export function deadHeaders(reason: string, error: unknown): Record<string, string> {
  return {
    [header.deadReason]: reason,
    [header.deadDetail]: (error instanceof Error ? error.message : String(error)).slice(0, DETAIL_LENGTH),
    [header.deadTime]: new Date().toISOString(),
  };
}

/** The value if it is a text, else the other one. */
export function textOr<Other>(value: unknown, other: Other): string | Other {
  return typeof value === "string" ? value : other;
}

function numberOr(value: unknown, other: number): number {
  return typeof value === "number" ? value : other;
}
