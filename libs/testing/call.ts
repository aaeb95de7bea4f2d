import { pino } from "pino";
import type { Call } from "#libs/rpc";

/** The call of a test: of tenant `demo`, with a deadline far away. */
export function testCall(changes: Partial<Call> = {}): Call {
  return {
    rpc: "test",
    requestId: "test",
    caller: { tenant: "demo", subject: "api" },
    log: pino({ level: "silent" }),
    deadline: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    header: () => undefined,
    isAbandoned: () => false,
    ...changes,
  };
}
