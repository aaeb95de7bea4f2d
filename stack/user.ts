import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { Problem } from "./problem.ts";

/** Another user to run a process as. */
export type ProcessUser = {
  readonly uid: number;
  readonly gid: number;
  /** What is put before the command, where changing the user takes a program. */
  readonly prefix: readonly string[];
  /** What spawn is told, where it can change the user itself. */
  readonly ids: { readonly uid?: number; readonly gid?: number };
};

/**
 * The user for a program that refuses to run as root; undefined when this process is not root. It is
 * `nobody`, who is on every machine, so that no account is made. Where a folder above `folders` is closed to
 * others (as /root often is), the program keeps the one capability to pass through it, and may still be the
 * owner of its data only.
 */
export function unprivilegedUser(folders: readonly string[]): ProcessUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const uid = idOf("-u");
  const gid = idOf("-g");
  const closed = folders.find((folder) => !isOpenToOthers(folder));
  if (closed === undefined) return { uid, gid, prefix: [], ids: { uid, gid } };
  if (process.platform !== "linux") {
    throw new Problem(
      `Postgres does not run as root, and other users can't reach ${closed}.`,
      "Run as an ordinary user, or move the project to a folder that others may enter.",
    );
  }
  const prefix = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
  prefix.push("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--");
  return { uid, gid, prefix, ids: {} };
}

function idOf(option: "-u" | "-g"): number {
  return Number(execFileSync("id", [option, "nobody"], { encoding: "utf8" }));
}

function isOpenToOthers(folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}
