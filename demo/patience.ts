import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";

export type PatienceOptions = {
  /** How long a call is repeated before its last error counts. */
  readonly patienceMs: number;
  /** Told of each repetition. */
  onRetry(error: ConnectError): void;
};

const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 1_000;

/** What a caller may simply send again, by the contract. */
const RETRIABLE = new Set([Code.Unavailable, Code.Aborted, Code.ResourceExhausted, Code.DeadlineExceeded]);
/** What a client calls a connection that broke under it; a service that says so adds an ErrorInfo. */
const BROKEN = new Set([Code.Unknown, Code.Internal, Code.Canceled]);

/** Whether the same request, under the same request_id, may be sent again. */
export function isRetriable(error: ConnectError): boolean {
  if (RETRIABLE.has(error.code)) return true;
  return BROKEN.has(error.code) && error.findDetails(ErrorInfoSchema).length === 0;
}

/**
 * Repeats each call that failed for a reason that may pass, with growing pauses. It is for calls that are
 * safe to repeat: reads, and mutations that carry a request_id.
 */
export function withPatience(transport: Transport, options: PatienceOptions): Transport {
  return {
    async unary(...call) {
      const deadline = performance.now() + options.patienceMs;
      for (let pauseMs = PAUSE_MIN_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
        try {
          return await transport.unary(...call);
        } catch (error) {
          const failure = ConnectError.from(error);
          if (!isRetriable(failure) || performance.now() > deadline) throw failure;
          options.onRetry(failure);
          // Those that failed together must not come back together.
          await pause(pauseMs * (0.5 + Math.random()));
        }
      }
    },
    stream: (...call) => transport.stream(...call),
  };
}

/** Asks again and again until the answer is as wanted or the time is over, and returns the last answer. */
export async function eventually<T>(
  ask: () => Promise<T>,
  isWanted: (answer: T) => boolean,
  timeoutMs: number,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer) || performance.now() > deadline) return answer;
    await pause(PAUSE_MIN_MS);
  }
}
