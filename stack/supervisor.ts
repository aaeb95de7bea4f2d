import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { identify, isAlive, type ProcessIdentity } from "./identity.ts";
import { Problem } from "./problem.ts";
import { type ProcessPlan, type SupervisedProcess, supervise } from "./process.ts";
import {
  endLeftovers,
  type RecordedChild,
  readRecord,
  removeRecord,
  runFolder,
  type StackRecord,
  writePidFile,
  writeRecord,
} from "./record.ts";

/** All processes of one stack: each supervised, all of them recorded, none left behind. */
export type Supervisor = {
  readonly folder: string;
  /** Starts a process and waits until it is ready. */
  start(plan: ProcessPlan): Promise<SupervisedProcess>;
  process(name: string): SupervisedProcess;
  processes(): readonly SupervisedProcess[];
  /**
   * Records a process that someone else started and waits for, so that it does not outlive a crash either.
   */
  adopt(name: string, child: ChildProcess): void;
  isStopping(): boolean;
  /** Stops all in the reverse order of their start; a second call with `hurry` cuts the first one short. */
  stop(hurry?: boolean): Promise<void>;
};

export type SupervisorOptions = {
  readonly folder: string;
  /** Remove the whole folder at the end. */
  readonly throwAway: boolean;
  log(line: string): void;
};

const ADOPTED_STOP_TIMEOUT_MS = 10_000;
/**
 * A log that is larger than this at the start of a stack is set aside, so that `.dev` does not grow for
 * ever.
 */
const LOG_SIZE_MAX_BYTES = 20 * 1024 * 1024;

/**
 * Takes the folder for one stack: refuses when another one lives there, ends what a dead one has left, and
 * starts the guard that will end the processes of this one, should it die itself.
 */
export async function createSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { folder, throwAway, log } = options;
  await takeFolder(folder, log);
  const logFolder = join(folder, "log");
  mkdirSync(logFolder, { recursive: true });
  mkdirSync(runFolder(folder), { recursive: true });

  const stack = identityOf(process.pid);
  const processes: SupervisedProcess[] = [];
  const adopted: ChildProcess[] = [];
  const children = new Map<string, RecordedChild>();
  let guard: { child: ChildProcess; identity: ProcessIdentity } | undefined;
  let stopping: Promise<void> | undefined;
  let hurried = false;

  function record(): void {
    const content: StackRecord = { stack, throwAway, children: [...children.values()] };
    writeRecord(folder, guard ? { ...content, guard: guard.identity } : content);
  }

  function note(
    name: string,
    pid: number | undefined,
    how: Pick<RecordedChild, "stopSignal" | "leadsGroup">,
  ) {
    const identity = pid === undefined ? undefined : identify(pid);
    if (identity) children.set(name, { name, ...identity, ...how });
    else children.delete(name);
    record();
    writePidFile(folder, name, pid);
  }

  function startGuard(): void {
    const child = spawnGuard(folder);
    guard = { child, identity: identityOf(child.pid) };
    child.once("exit", () => {
      if (!stopping) startGuard();
    });
    record();
  }

  async function stopAll(): Promise<void> {
    await Promise.all(adopted.map((child) => end(child, hurried)));
    for (const one of processes.toReversed()) await one.stop(hurried);
    const last = guard?.child;
    const gone = new Promise<void>((resolve) => (last ? last.once("exit", () => resolve()) : resolve()));
    last?.stdin?.end();
    await gone;
    removeRecord(folder);
    if (throwAway) rmSync(folder, { recursive: true, force: true });
  }

  startGuard();

  return {
    folder,
    async start(plan) {
      if (stopping) throw new Error("the stack is being stopped");
      setLargeLogAside(join(logFolder, `${plan.name}.log`));
      const how = { stopSignal: plan.stopSignal, leadsGroup: true };
      const one = supervise(plan, { logFolder, log, changed: (pid) => note(plan.name, pid, how) });
      processes.push(one);
      await one.start();
      log(`${plan.name} is ready`);
      return one;
    },
    process(name) {
      const found = processes.find((one) => one.name === name);
      if (!found) throw new Error(`the stack has no process "${name}"`);
      return found;
    },
    processes: () => processes,
    adopt(name, child) {
      const how = { stopSignal: "SIGTERM" as const, leadsGroup: false };
      note(name, child.pid, how);
      child.once("exit", () => note(name, undefined, how));
      adopted.push(child);
    },
    isStopping: () => stopping !== undefined,
    async stop(hurry = false) {
      stopping ??= stopAll();
      if (hurry && !hurried) {
        hurried = true;
        for (const child of adopted) child.kill("SIGKILL");
        await Promise.all(processes.map((one) => one.stop(true)));
      }
      await stopping;
    },
  };
}

async function end(child: ChildProcess, hurry: boolean): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(hurry ? "SIGKILL" : "SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), ADOPTED_STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

async function takeFolder(folder: string, log: (line: string) => void): Promise<void> {
  const record = readRecord(folder);
  if (!record) return;
  if (isAlive(record.stack)) {
    throw new Problem(
      `Holdfast runs already from ${folder} (process ${record.stack.pid}).`,
      `Stop it with Ctrl-C where it runs, or with: kill ${record.stack.pid}`,
    );
  }
  log("the last run did not end in good order; ending what it left behind");
  // Its guard may be at work on the same processes: one of the two is enough.
  if (record.guard && isAlive(record.guard)) process.kill(record.guard.pid, "SIGKILL");
  const ended = await endLeftovers(folder);
  if (ended.length > 0) log(`ended ${ended.join(", ")}`);
}

function spawnGuard(folder: string): ChildProcess {
  const log = openSync(join(folder, "log", "guard.log"), "a");
  try {
    const child = spawn(process.execPath, [join(import.meta.dirname, "guard.ts"), folder], {
      cwd: "/",
      env: { PATH: process.env["PATH"] ?? "" },
      detached: true,
      stdio: ["pipe", log, log],
    });
    child.stdin?.on("error", () => {});
    return child;
  } finally {
    closeSync(log);
  }
}

function identityOf(pid: number | undefined): ProcessIdentity {
  const identity = pid === undefined ? undefined : identify(pid);
  if (!identity) throw new Error(`process ${pid} can't be identified`);
  return identity;
}

function setLargeLogAside(path: string): void {
  if (existsSync(path) && statSync(path).size > LOG_SIZE_MAX_BYTES) renameSync(path, `${path}.1`);
}
