import { spawn, spawnSync } from "node:child_process";
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

/** Installs RabbitMQ with the system's package manager, or says in two lines how a person does it. */
export async function installRabbitmq(log: (line: string) => void): Promise<void> {
  if (mayInstallWithApt()) {
    log("RabbitMQ is missing; installing it with apt-get (about a minute)");
    const done = await installWithApt("rabbitmq-server");
    if (!done.ok) throw missing("sudo apt-get install rabbitmq-server", `: ${done.lastLine}`);
  } else if (findOnPath("brew")) {
    log("RabbitMQ is missing; installing it with brew (some minutes)");
    const done = await runInstaller(["brew", "install", "rabbitmq"]);
    if (!done.ok) throw missing("brew install rabbitmq", `: ${done.lastLine}`);
  } else if (findOnPath("apt-get")) {
    throw missing("sudo apt-get install rabbitmq-server");
  } else {
    throw missing("the package manager of your system");
  }
}

/**
 * Debian starts a server as soon as it is installed. The system's own broker is not wanted here, so it is
 * kept from starting now (policy-rc.d, where there is none) and at the next boot.
 */
const APT_SCRIPT = `
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$1"
if [ "$1" = rabbitmq-server ] && [ -d /run/systemd/system ]; then systemctl disable rabbitmq-server; fi
`;

let installing: Promise<unknown> = Promise.resolve();

/** Installs a Debian package, as root or by a sudo that asks nothing: one at a time, as apt-get wants it. */
export function installWithApt(name: string): Promise<{ ok: boolean; lastLine: string }> {
  const prefix = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const install = () => runInstaller([...prefix, "sh", "-c", APT_SCRIPT, "sh", name]);
  const done = installing.then(install, install);
  installing = done;
  return done;
}

/** Says whether packages can be installed by apt-get without asking anyone. */
export function mayInstallWithApt(): boolean {
  if (!findOnPath("apt-get")) return false;
  return process.getuid?.() === 0 || spawnSync("sudo", ["-n", "true"]).status === 0;
}

/** Runs an installer, and says whether it succeeded and what it said last. */
export async function runInstaller([command = "", ...args]: readonly string[]): Promise<{
  ok: boolean;
  lastLine: string;
}> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      output += text;
    });
  }
  return await new Promise((resolve) => {
    child.once("error", (error) => resolve({ ok: false, lastLine: error.message }));
    child.once("close", (code) =>
      resolve({ ok: code === 0, lastLine: output.trim().split("\n").at(-1) ?? "" }),
    );
  });
}

function missing(installer: string, detail = "."): Problem {
  return new Problem(
    `RabbitMQ is missing, and can't be installed from here${detail}`,
    `Install it (${installer}), or give a broker of your own: AMQP_URL=amqp://user:password@host:5672`,
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
