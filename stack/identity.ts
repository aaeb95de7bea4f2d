import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process, told apart from a later one that was given the same number. */
export type ProcessIdentity = {
  readonly pid: number;
  /** When it was started, in the words of the system. */
  readonly started: string;
};

/** Reads the identity of a live process; undefined when there is none (a zombie is none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const started = process.platform === "linux" ? startedOnLinux(pid) : startedElsewhere(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Says whether this very process still lives: not merely another one with its number. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.started === identity.started;
}

function startedOnLinux(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name of the program, in brackets, may hold spaces and brackets itself: the fields are counted from
  // its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const ticksSinceBoot = fields[19];
  if (state === "Z" || state === "X" || ticksSinceBoot === undefined) return undefined;
  return `${bootId()}/${ticksSinceBoot}`;
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

function startedElsewhere(pid: number): string | undefined {
  try {
    const line = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
    const [state, ...started] = line.split(/\s+/);
    return state === undefined || state.startsWith("Z") ? undefined : started.join(" ");
  } catch {
    return undefined;
  }
}
