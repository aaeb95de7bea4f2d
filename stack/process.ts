import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Problem } from "./problem.ts";
import { killGroup, signalQuietly } from "./record.ts";
import type { ProcessUser } from "./user.ts";

/** How one process is started, known to be ready, and stopped. */
export type ProcessPlan = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** All that the process sees beside PATH and the like: the surroundings of the stack are not passed on. */
  readonly env: Readonly<Record<string, string>>;
  /** Whose process it is, when not the stack's own user's. */
  readonly user?: ProcessUser | undefined;
  /** The signal that makes it end in good order, and how long that may take. */
  readonly stopSignal: NodeJS.Signals;
  readonly stopTimeoutMs: number;
  /** The signal for a person in a hurry. */
  readonly hurrySignal: NodeJS.Signals;
  readonly isReady: () => Promise<boolean>;
  readonly readyTimeoutMs: number;
};

export type SupervisedProcess = {
  readonly name: string;
  /** The number of the live process; undefined while there is none. */
  pid(): number | undefined;
  /** How often it was started again after it had died. */
  restarts(): number;
  /** Starts it and waits until it is ready; from then on it is started again whenever it dies. */
  start(): Promise<void>;
  /** Waits until it is ready, also when it is just being started again. */
  ready(): Promise<void>;
  /**
   * Sends a signal to the live process, waits until it has ended of it, and lets supervision do the rest.
   * SIGSTOP and SIGCONT are only sent.
   */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Stops it for good, in good order or in a hurry; a second call only adds its hurry. */
  stop(hurry?: boolean): Promise<void>;
};

export type ProcessHooks = {
  readonly logFolder: string;
  log(line: string): void;
  /** Called at once when the process was started, and when it has ended. */
  changed(pid: number | undefined): void;
};

/**
 * The pause before a process that died is started again: doubled each time, and short again once it has run
 * a while.
 */
export const RESTART_PAUSE_MIN_MS = 200;
export const RESTART_PAUSE_MAX_MS = 5_000;
const RESTART_PAUSE_RESET_MS = 10_000;
/** What a process in a hurry may take before it is killed. */
const HURRY_TIMEOUT_MS = 3_000;
const READY_POLL_MS = 50;
/** The last lines of a log that are shown when a process can't be started. */
const LAST_WORDS_LINES = 12;

/** The pause before the next start, from the last pause and how long the process ran since. */
export function nextPauseMs(lastPauseMs: number, ranMs: number): number {
  if (lastPauseMs === 0 || ranMs >= RESTART_PAUSE_RESET_MS) return RESTART_PAUSE_MIN_MS;
  return Math.min(lastPauseMs * 2, RESTART_PAUSE_MAX_MS);
}

/** Makes the supervisor of one process; nothing is started yet. */
export function supervise(plan: ProcessPlan, hooks: ProcessHooks): SupervisedProcess {
  const logFile = join(hooks.logFolder, `${plan.name}.log`);
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let lastEnd = "";
  let phase: "stopped" | "starting" | "running" = "stopped";
  let restarts = 0;
  let pauseMs = 0;
  let timer: NodeJS.Timeout | undefined;

  function launch(): void {
    const startedAt = performance.now();
    const launched = spawnProcess(plan, logFile);
    child = launched;
    ended = new Promise((resolve) => {
      const onEnd = (how: string) => {
        if (child !== launched) return;
        child = undefined;
        lastEnd = how;
        // What it has started itself must not outlive it.
        if (launched.pid !== undefined) killGroup(launched.pid);
        hooks.changed(undefined);
        resolve();
        if (phase === "running") scheduleRestart(performance.now() - startedAt);
      };
      launched.once("error", (error) => onEnd(error.message));
      launched.once("exit", (code, signal) => onEnd(signal ?? `status ${code}`));
    });
    if (launched.pid !== undefined) hooks.changed(launched.pid);
  }

  function scheduleRestart(ranMs: number): void {
    pauseMs = nextPauseMs(pauseMs, ranMs);
    hooks.log(`${plan.name} ended (${lastEnd}); it is started again in ${pauseMs / 1000} s`);
    timer = setTimeout(() => {
      restarts++;
      launch();
    }, pauseMs);
  }

  async function waitReady(isFirst: boolean): Promise<void> {
    const deadline = performance.now() + plan.readyTimeoutMs;
    while (performance.now() < deadline) {
      if (child && (await plan.isReady())) return;
      if (phase === "stopped") throw new Error(`${plan.name} was stopped before it was ready`);
      if (isFirst && !child) throw couldNotStart(`${plan.name} ended (${lastEnd}) before it was ready.`);
      await pause(READY_POLL_MS);
    }
    throw couldNotStart(`${plan.name} was not ready within ${plan.readyTimeoutMs / 1000} s.`);
  }

  function couldNotStart(what: string): Problem {
    return new Problem(what, `Its log is ${logFile}, and ends with:\n${lastWords(logFile)}`);
  }

  return {
    name: plan.name,
    pid: () => child?.pid,
    restarts: () => restarts,
    async start() {
      if (phase !== "stopped") throw new Error(`${plan.name} is started already`);
      // Before it is ready, its death is the answer and not a reason to try again.
      phase = "starting";
      pauseMs = 0;
      launch();
      await waitReady(true);
      phase = "running";
    },
    ready: () => waitReady(false),
    async kill(signal) {
      if (child?.pid === undefined) return;
      signalQuietly(child.pid, signal);
      if (signal !== "SIGSTOP" && signal !== "SIGCONT") await ended;
    },
    async stop(hurry = false) {
      phase = "stopped";
      clearTimeout(timer);
      const pid = child?.pid;
      if (pid === undefined) return;
      signalQuietly(pid, hurry ? plan.hurrySignal : plan.stopSignal);
      // One that was halted by SIGSTOP has to go on to end.
      signalQuietly(pid, "SIGCONT");
      const timeoutMs = hurry ? HURRY_TIMEOUT_MS : plan.stopTimeoutMs;
      const inTime = await Promise.race([ended.then(() => true), pause(timeoutMs, false, { ref: false })]);
      if (!inTime && child?.pid === pid) {
        hooks.log(`${plan.name} did not end within ${timeoutMs / 1000} s and is killed`);
        signalQuietly(pid, "SIGKILL");
      }
      await ended;
      if (lastEnd !== "status 0" && lastEnd !== plan.stopSignal && !hurry) {
        hooks.log(`${plan.name} did not end in good order (${lastEnd})`);
      }
    },
  };
}

function spawnProcess(plan: ProcessPlan, logFile: string): ChildProcess {
  const log = openSync(logFile, "a");
  try {
    const { prefix, ids } = plan.user ?? { prefix: [], ids: {} };
    const [command = plan.command, ...args] = [...prefix, plan.command, ...plan.args];
    return spawn(command, args, {
      cwd: plan.cwd,
      env: { ...surroundings(), ...plan.env },
      // A session of its own: Ctrl-C reaches the stack alone, which stops its parts in order.
      detached: true,
      stdio: ["ignore", log, log],
      ...ids,
    });
  } finally {
    closeSync(log);
  }
}

/** What any program needs to know of the machine; everything else is said by the plan. */
function surroundings(): Record<string, string> {
  const names = ["PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE"];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function lastWords(logFile: string): string {
  const lines = readFileSync(logFile, "utf8").trimEnd().split("\n");
  return lines
    .slice(-LAST_WORDS_LINES)
    .map((line) => `  ${line}`)
    .join("\n");
}
