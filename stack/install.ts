import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { Problem } from "./problem.ts";

/** The full path of a program, as a shell would find it. */
export function findOnPath(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, program))
    .find(isExecutable);
}

/**
 * Debian starts a server as soon as it is installed. The broker of the system is not wanted here, so it is kept from
 * starting now (policy-rc.d, where there is none) and at the next boot.
 */
const APT_SCRIPT = `
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends rabbitmq-server
if [ -d /run/systemd/system ]; then systemctl disable rabbitmq-server; fi
`;

/** Installs RabbitMQ with the system's package manager, or says in two lines how a person does it. */
export async function installRabbitmq(log: (line: string) => void): Promise<void> {
  if (findOnPath("apt-get")) {
    const prefix = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
    const mayInstall = prefix.length === 0 || spawnSync("sudo", ["-n", "true"]).status === 0;
    if (mayInstall) {
      log("RabbitMQ is missing; installing it with apt-get (about a minute)");
      return runInstaller([...prefix, "sh", "-c", APT_SCRIPT]);
    }
    throw missing("sudo apt-get install rabbitmq-server");
  }
  if (findOnPath("brew")) {
    log("RabbitMQ is missing; installing it with brew (some minutes)");
    return runInstaller(["brew", "install", "rabbitmq"]);
  }
  throw missing("the package manager of your system (the package is called rabbitmq-server or rabbitmq)");
}

function runInstaller([command = "", ...args]: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return;
  const lastLine = `${stdout}${stderr}`.trimEnd().split("\n").at(-1);
  throw missing("the package manager of your system", `: ${lastLine}`);
}

function missing(installer: string, detail = "."): Problem {
  return new Problem(
    `RabbitMQ is missing, and can't be installed from here${detail}`,
    `Install it with ${installer}, or give a broker of your own: AMQP_URL=amqp://user:password@host:5672`,
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
