import type { Logger } from "pino";
import { DomainError } from "#libs/reasons";
import type { Call, Caller } from "./call.ts";

/** What a way in (unary gRPC, Connect) knows of a call. */
export type Incoming = {
  header(name: string): string | undefined;
  /** What the caller said it waits, if it did. */
  readonly timeoutMs: number | undefined;
  /** Calls back when the caller goes away before it has its answer. */
  onGone(listener: () => void): void;
};

const DEFAULT_DEADLINE_MS = 5_000;
/**
 * A longer wait than this is not granted: nothing here takes so long, and every waiting call holds memory.
 */
export const MAX_DEADLINE_MS = 30_000;

/** A call under way: what its handler sees of it, and the race of the handler with its deadline. */
export class OpenCall implements Call {
  readonly rpc: string;
  readonly requestId: string;
  readonly caller: Caller;
  readonly log: Logger;
  readonly deadline: number;
  readonly #incoming: Incoming;
  #controller: AbortController | undefined;
  #abandonment: DomainError | undefined;
  #onAbandoned: ((error: DomainError) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(rpc: string, requestId: string, caller: Caller, log: Logger, incoming: Incoming) {
    this.rpc = rpc;
    this.requestId = requestId;
    this.caller = caller;
    this.log = log;
    this.#incoming = incoming;
    const timeoutMs = Math.min(incoming.timeoutMs ?? DEFAULT_DEADLINE_MS, MAX_DEADLINE_MS);
    this.deadline = performance.now() + timeoutMs;
    this.#timer = setTimeout(() => {
      this.#abandon(deadlinePassed(timeoutMs));
    }, timeoutMs);
    incoming.onGone(() => {
      this.#abandon(callerGone());
    });
  }

  /** Made only when a handler asks: a controller for every call is a tenth of the cost of a small one. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#abandonment) this.#controller.abort(this.#abandonment);
    return this.#controller.signal;
  }

  header(name: string): string | undefined {
    return this.#incoming.header(name);
  }

  isAbandoned(): boolean {
    return this.#abandonment !== undefined || performance.now() >= this.deadline;
  }

  /** The outcome of `work`, or an error as soon as nobody waits for it any more. */
  race<Result>(work: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#abandonment) reject(this.#abandonment);
      this.#onAbandoned = reject;
      work.then(resolve, reject);
    });
  }

  /** Lets go of the timer; the call is answered. */
  close(): void {
    clearTimeout(this.#timer);
    this.#onAbandoned = undefined;
  }

  #abandon(error: DomainError): void {
    if (this.#abandonment) return;
    this.#abandonment = error;
    this.#controller?.abort(error);
    this.#onAbandoned?.(error);
  }
}

function deadlinePassed(timeoutMs: number): DomainError {
  return new DomainError(
    "DEADLINE_PASSED",
    `the deadline of ${timeoutMs} ms passed; the call may still take effect: repeat it under its request_id`,
  );
}

function callerGone(): DomainError {
  return new DomainError("CALL_CANCELLED", "the caller went away before the call was answered");
}
