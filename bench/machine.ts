/** What processes cost: their processor time and their memory, with all that they started. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

/** One process, as the system counts it. */
type Sample = { readonly pid: number; readonly parent: number; readonly cpuMs: number };

/** Clock ticks a second in /proc, on every Linux there is. */
const TICKS_PER_SECOND = 100;
const KIB_PER_MB = 1_024;

/**
 * The processor time in milliseconds, user and system, that each of these processes has used so far, with its
 * children and those of them that have ended.
 */
export function cpuTimesMs(roots: ReadonlyMap<string, number>): Map<string, number> {
  const samples = process.platform === "linux" ? samplesFromProc() : samplesFromPs();
  const children = Map.groupBy(samples, ({ parent }) => parent);
  const byPid = new Map(samples.map((sample) => [sample.pid, sample]));
  const timeOf = (sample: Sample): number =>
    (children.get(sample.pid) ?? []).reduce((sum, child) => sum + timeOf(child), sample.cpuMs);
  return new Map(
    [...roots].map(([name, pid]) => {
      const root = byPid.get(pid);
      return [name, root ? timeOf(root) : 0];
    }),
  );
}

/** The resident memory of a process in MB. */
export function residentMb(pid: number): number {
  const kib = execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" });
  return Number(kib.trim()) / KIB_PER_MB;
}

/** What the machine is, for the record. */
export function describeMachine(): Record<string, string | number> {
  const [first] = cpus();
  return {
    platform: `${process.platform} ${process.arch}`,
    processor: first?.model ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}

function samplesFromProc(): Sample[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [sampleFromStat(Number(name), readFileSync(`/proc/${name}/stat`, "latin1"))];
      } catch {
        // It ended in between.
        return [];
      }
    });
}

function sampleFromStat(pid: number, stat: string): Sample {
  // The name, in parentheses, may have spaces and parentheses itself; the fields behind it are numbers.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
  return { pid, parent: Number(fields[1]), cpuMs: (ticks * 1_000) / TICKS_PER_SECOND };
}

function samplesFromPs(): Sample[] {
  const text = execFileSync("ps", ["-A", "-o", "pid=,ppid=,time="], { encoding: "utf8" });
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [pid = "", parent = "", time = ""] = line.trim().split(/\s+/);
      const seconds = time.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
      return { pid: Number(pid), parent: Number(parent), cpuMs: seconds * 1_000 };
    });
}
