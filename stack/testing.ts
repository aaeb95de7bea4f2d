/** What the tests of this folder share: small processes to supervise, and waiting for a fact. */
import { setTimeout as pause } from "node:timers/promises";
import { identify } from "./identity.ts";
import type { ProcessPlan } from "./process.ts";

const WAIT_TIMEOUT_MS = 15_000;

/** A process that runs until it is told to end. */
export function planSleeper(name: string, change: Partial<ProcessPlan> = {}): ProcessPlan {
  return {
    name,
    command: "sleep",
    args: ["1000"],
    cwd: "/",
    env: {},
    stopSignal: "SIGTERM",
    stopTimeoutMs: 5_000,
    hurrySignal: "SIGKILL",
    isReady: async () => true,
    readyTimeoutMs: 5_000,
    ...change,
  };
}

/** One that does not end when it is asked to, and has started another that does not either. */
export function planStubborn(name: string, stopTimeoutMs: number): ProcessPlan {
  const script = 'trap "" TERM; (trap "" TERM; exec sleep 1000) & echo child $!; while :; do sleep 1; done';
  return planSleeper(name, { command: "sh", args: ["-c", script], stopTimeoutMs });
}

/** Waits until something is so, and fails with its description when it is not in time. */
export async function until(fact: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_TIMEOUT_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${WAIT_TIMEOUT_MS} ms: ${fact}`);
    await pause(20);
  }
}

/** Says whether a process with this number lives. */
export function lives(pid: number): boolean {
  return identify(pid) !== undefined;
}
