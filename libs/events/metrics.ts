import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** What a service counts of its events. */
export type EventMetrics = {
  readonly published: Counter<"outcome">;
  readonly outboxDepth: Gauge;
  readonly outboxOldestAge: Gauge;
  readonly consumed: Counter<"queue" | "outcome">;
  readonly handling: Histogram<"queue">;
  readonly nudges: Counter<"queue" | "outcome">;
};

/** Registers the metrics of events; once a registry. */
export function createEventMetrics(registry: Registry): EventMetrics {
  const registers = [registry];
  return {
    published: new Counter({
      name: "holdfast_events_published_total",
      help: "Messages of the outbox by what became of them: confirmed, returned, unconfirmed.",
      labelNames: ["outcome"],
      registers,
    }),
    outboxDepth: new Gauge({
      name: "holdfast_outbox_depth",
      help: "Messages that wait in the outbox, counted up to 10,000.",
      registers,
    }),
    outboxOldestAge: new Gauge({
      name: "holdfast_outbox_oldest_age_seconds",
      help: "How long the oldest message that waits in the outbox has waited.",
      registers,
    }),
    consumed: new Counter({
      name: "holdfast_events_consumed_total",
      help:
        "Deliveries by what became of them: done, moved (a nudge that is not due goes on), retried, " +
        "postponed (a dependency is away), dead.",
      labelNames: ["queue", "outcome"],
      registers,
    }),
    handling: new Histogram({
      name: "holdfast_event_handling_seconds",
      help: "How long the handler of a message took.",
      labelNames: ["queue"],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
      registers,
    }),
    nudges: new Counter({
      name: "holdfast_nudges_total",
      help: "Nudges by what became of them: moved to the next rung, or handled.",
      labelNames: ["queue", "outcome"],
      registers,
    }),
  };
}
