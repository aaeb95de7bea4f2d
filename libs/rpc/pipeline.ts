import { randomUUID } from "node:crypto";
import type { Message } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import type { Caller, RpcMethod } from "./call.ts";
import { type Failure, toFailure } from "./failure.ts";
import { type Incoming, OpenCall } from "./open-call.ts";
import { checkRules } from "./rules.ts";
import { createGates, shedFailure } from "./shedding.ts";

/** The answer to a call: a message, or the failure to tell. */
export type Answer =
  | { readonly ok: true; readonly message: Message; readonly requestId: string }
  | { readonly ok: false; readonly failure: Failure; readonly requestId: string };

export type PipelineOptions = {
  readonly log: Logger;
  /** Reads the caller from the headers that the gateway vouches for. */
  readonly callerOf: (headers: Pick<Incoming, "header">) => Caller;
  /**
   * Told of every answered call: its RPC, its reason or OK, how long it took, and whether it was refused at
   * the door, in no time.
   */
  readonly observe?: (rpc: string, outcome: string, tookMs: number, refused: boolean) => void;
};

/** Carries one call through all that is the same for every method and every way in. */
export type Pipeline = {
  /**
   * The answer to a call that would not be let in now, for a way in that can give it before it reads the
   * request; undefined if the call may go on to `run`.
   */
  refuse(method: RpcMethod, incoming: Incoming): Answer | undefined;
  /** Judges the request, runs its handler and answers. Never rejects. */
  run(method: RpcMethod, incoming: Incoming, parse: () => Message): Promise<Answer>;
  /** Calls under way. */
  underWay(): number;
};

/** Long enough for any id in use, short enough for a log line. */
const REQUEST_ID_PATTERN = /^[\x21-\x7e]{1,200}$/;

/**
 * Makes the pipeline of a server: request id, caller, `Idempotency-Key`, the contract's rules, deadline,
 * errors and the log. It is the only place where these are done, so that every way in behaves alike.
 */
export function createPipeline(options: PipelineOptions): Pipeline {
  const { log, observe } = options;
  const gateOf = createGates();
  let underWay = 0;

  async function run(method: RpcMethod, incoming: Incoming, parse: () => Message): Promise<Answer> {
    const startedAt = performance.now();
    const requestId = requestIdOf(incoming);
    const rpc = method.path.slice(1);
    const caller = options.callerOf(incoming);
    const gate = gateOf(method);
    if (!gate.enter()) return shed(rpc, requestId);
    underWay += 1;
    const call = new OpenCall(rpc, requestId, caller, log, incoming);
    let answer: Answer;
    try {
      const request = parse();
      takeIdempotencyKey(request, incoming);
      checkRules(method.desc.input, request);
      answer = { ok: true, message: await call.race(method.handle(request, call)), requestId };
    } catch (error) {
      answer = { ok: false, failure: toFailure(error, requestId), requestId };
      if (isOurs(answer.failure)) log.error({ rpc, requestId, err: error }, "call failed");
    } finally {
      call.close();
      underWay -= 1;
    }
    const tookMs = performance.now() - startedAt;
    gate.leave(tookMs);
    const outcome = answer.ok ? "OK" : answer.failure.reason;
    observe?.(rpc, outcome, tookMs, false);
    log.info({ rpc, requestId, outcome, ms: Math.round(tookMs * 10) / 10 }, "call");
    return answer;
  }

  function refuse(method: RpcMethod, incoming: Incoming): Answer | undefined {
    return gateOf(method).letsIn() ? undefined : shed(method.path.slice(1), requestIdOf(incoming));
  }

  // Counted, but not logged line by line: there are very many, and they say nothing of their calls.
  function shed(rpc: string, requestId: string): Answer {
    observe?.(rpc, shedFailure.reason, 0, true);
    return { ok: false, failure: shedFailure, requestId };
  }

  return { refuse, run, underWay: () => underWay };
}

function isOurs(failure: Failure): boolean {
  return failure.reason === "INTERNAL_ERROR" || failure.reason === "DEPENDENCY_UNAVAILABLE";
}

function requestIdOf(incoming: Incoming): string {
  const given = incoming.header("x-request-id");
  return given !== undefined && REQUEST_ID_PATTERN.test(given) ? given : randomUUID();
}

// A field of the contract for gRPC, a header for JSON: the field wins when both are there.
function takeIdempotencyKey(request: Message & { requestId?: unknown }, incoming: Incoming): void {
  if (request.requestId !== "") return;
  const key = incoming.header("idempotency-key");
  if (key !== undefined) request.requestId = key;
}
