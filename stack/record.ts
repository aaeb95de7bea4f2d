import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isAlive, type ProcessIdentity } from "./identity.ts";

/** One child of the stack, as it stands in the record. */
export type RecordedChild = ProcessIdentity & {
  readonly name: string;
  /** The signal that makes it end in good order. */
  readonly stopSignal: NodeJS.Signals;
  /** Whether it leads a process group of its own, so that what it started can be ended with it. */
  readonly leadsGroup: boolean;
};

/**
 * Which processes belong to a stack, on disk, so that they are found again when the stack itself has died.
 */
export type StackRecord = {
  readonly stack: ProcessIdentity;
  readonly guard?: ProcessIdentity;
  /** The whole folder is removed once its processes have ended. */
  readonly throwAway: boolean;
  readonly children: readonly RecordedChild[];
};

/**
 * Long enough for Postgres and RabbitMQ to end in good order; nobody waits for the services' calls any more.
 */
const LEFTOVER_STOP_TIMEOUT_MS = 8_000;
const LEFTOVER_KILL_TIMEOUT_MS = 2_000;
const POLL_MS = 50;

/** The folder of pid files, the record and `stack.env`. */
export function runFolder(folder: string): string {
  return join(folder, "run");
}

/** The file that tells other programs where everything is. */
export function addressBookPath(folder: string): string {
  return join(runFolder(folder), "stack.env");
}

/** Reads the record of a stack's folder; undefined when no stack runs from it, or none was left behind. */
export function readRecord(folder: string): StackRecord | undefined {
  const path = recordPath(folder);
  if (!existsSync(path)) return undefined;
  const content: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (!isRecord(content)) throw new Error(`${path} is not the record of a stack`);
  return content;
}

function isRecord(content: unknown): content is StackRecord {
  return content instanceof Object && "stack" in content && "children" in content;
}

/** Writes the record and the pid files at once, so that a crash a moment later finds them whole. */
export function writeRecord(folder: string, record: StackRecord): void {
  mkdirSync(runFolder(folder), { recursive: true });
  const path = recordPath(folder);
  writeFileSync(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

/** Removes the record and the address book: nothing runs from this folder any more. */
export function removeRecord(folder: string): void {
  for (const path of [addressBookPath(folder), recordPath(folder)]) rmSync(path, { force: true });
}

/** Writes `run/<name>.pid`, or removes it. */
export function writePidFile(folder: string, name: string, pid: number | undefined): void {
  const path = join(runFolder(folder), `${name}.pid`);
  if (pid === undefined) rmSync(path, { force: true });
  else writeFileSync(path, `${pid}\n`);
}

/**
 * Ends what a stack that died has left behind: each process that is still the recorded one, first in good
 * order, then by force, and then its group. Removes the record, the pid files and, where it was throw-away,
 * the folder.
 */
export async function endLeftovers(folder: string): Promise<string[]> {
  const record = readRecord(folder);
  if (!record) return [];
  const living = record.children.filter(isAlive);
  for (const child of living) signalQuietly(child.pid, child.stopSignal);
  await allEnded(living, LEFTOVER_STOP_TIMEOUT_MS);
  for (const child of living.filter(isAlive)) signalQuietly(child.pid, "SIGKILL");
  await allEnded(living, LEFTOVER_KILL_TIMEOUT_MS);
  for (const child of living) if (child.leadsGroup) killGroup(child.pid);
  for (const child of record.children) writePidFile(folder, child.name, undefined);
  removeRecord(folder);
  if (record.throwAway) rmSync(folder, { recursive: true, force: true });
  return living.map((child) => child.name);
}

/** Sends a signal and does not mind when nobody is there to get it. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Kills what is left of the group of a leader that has ended. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // ESRCH: nobody is left. EPERM: macOS says so of a group that only has zombies.
  }
}

async function allEnded(children: readonly RecordedChild[], timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (children.some(isAlive) && performance.now() < deadline) await pause(POLL_MS);
}

function recordPath(folder: string): string {
  return join(runFolder(folder), "stack.json");
}
