import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Problem } from "./problem.ts";
import type { ProcessPlan } from "./process.ts";
import { type Instance, NODE_ENVIRONMENT, NODE_FLAGS, type ServiceName } from "./system.ts";

const ROOT = join(import.meta.dirname, "..");
/** A service drains for 20 s, and ends by itself after 28 s at the latest. */
const STOP_TIMEOUT_MS = 30_000;
/** About 2 s on an idle machine; a full one is patient. */
const READY_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 2_000;
const MIGRATION_TIMEOUT_MS = 120_000;

/** Says how one instance of a service is run. */
export function planService(instance: Instance, env: Readonly<Record<string, string>>): ProcessPlan {
  return {
    name: instance.name,
    command: process.execPath,
    args: [...NODE_FLAGS, mainOf(instance.service)],
    cwd: ROOT,
    env: { ...NODE_ENVIRONMENT, ...env },
    stopSignal: "SIGTERM",
    stopTimeoutMs: STOP_TIMEOUT_MS,
    hurrySignal: "SIGKILL",
    isReady: () => answersOk(`http://${instance.opsAddress}/readyz`),
    readyTimeoutMs: READY_TIMEOUT_MS,
  };
}

/** Brings the database of a service to its newest migration. */
export async function migrateService(
  service: ServiceName,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [mainOf(service), "migrate"], {
      cwd: ROOT,
      env: { PATH: process.env["PATH"] ?? "", ...env },
      timeout: MIGRATION_TIMEOUT_MS,
    });
  } catch (error) {
    const output =
      error instanceof Error && "stdout" in error && "stderr" in error
        ? `${String(error.stdout)}${String(error.stderr)}`.trim()
        : String(error);
    throw new Problem(`The migrations of ${service} failed.`, output, { cause: error });
  }
}

/** Says whether a GET is answered with a 2xx within two seconds. */
export async function answersOk(url: string, headers: Record<string, string> = {}): Promise<boolean> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function mainOf(service: ServiceName): string {
  return join(ROOT, "services", service, "main.ts");
}
