import { setTimeout as pause } from "node:timers/promises";

const DEADLINE_MS = 15_000;
const POLL_MS = 25;

/** Waits until the fact holds; fails after a deadline. */
export async function until(fact: () => boolean | Promise<boolean>, deadlineMs = DEADLINE_MS): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await fact())) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${fact.toString()}`);
    await pause(POLL_MS);
  }
}
