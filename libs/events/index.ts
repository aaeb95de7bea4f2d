export { type Broker, type BrokerOptions, type BrokerState, connectBroker } from "./broker.ts";
export { type ConsumerOptions, createConsumer, type EventHandler, on } from "./consumer.ts";
export {
  type DeadLetter,
  type DeadLetterOptions,
  type DeadLetters,
  openDeadLetters,
  type Replayed,
} from "./dead-letters.ts";
export { ImpossibleMessage, requireUuid } from "./impossible.ts";
export {
  type EventOptions,
  type MessageMeta,
  type NudgeOptions,
  nudgeToOutbox,
  type OutboxMessage,
  toOutbox,
} from "./message.ts";
export { createEventMetrics, type EventMetrics } from "./metrics.ts";
export { consumeNudges, type NudgeConsumerOptions, nudgeCutShort } from "./nudges.ts";
export { insertOutbox, outboxInsertion } from "./outbox.ts";
export { createOutboxReadiness, type OutboxReadinessOptions } from "./readiness.ts";
export { createOutboxRelay, type OutboxRelay, type RelayOptions } from "./relay.ts";
export { LOST_QUEUE } from "./topology.ts";
