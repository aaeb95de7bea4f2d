import { Counter, collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** What a process counts and measures, read at /metrics. */
export type Metrics = {
  readonly registry: Registry;
  /**
   * Counts calls by RPC and outcome, and measures how long they take; those refused at the door are counted
   * and not measured.
   */
  observeCall(rpc: string, outcome: string, tookMs: number, refused: boolean): void;
};

/** Upper bounds in seconds: from a cached read to the longest deadline. */
const CALL_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30];

/** Makes the registry of a process with the metrics that every one has. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const calls = new Counter({
    name: "rpc_calls_total",
    help: "Answered calls, by RPC and outcome (OK or the error's reason).",
    labelNames: ["rpc", "outcome"],
    registers: [registry],
  });
  const refusals = new Counter({
    name: "rpc_calls_refused_total",
    help: "Those of the answered calls that were refused at the door, by RPC and reason.",
    labelNames: ["rpc", "reason"],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: "rpc_call_seconds",
    help: "How long calls took that were not refused at the door, by RPC.",
    labelNames: ["rpc"],
    buckets: CALL_SECONDS,
    registers: [registry],
  });
  return {
    registry,
    observeCall: (rpc, outcome, tookMs, refused) => {
      calls.inc({ rpc, outcome });
      // A refusal takes no time: with them the quantiles would be best when the service is worst.
      if (refused) refusals.inc({ rpc, reason: outcome });
      else seconds.observe({ rpc }, tookMs / 1_000);
    },
  };
}
