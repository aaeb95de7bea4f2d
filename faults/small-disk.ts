import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Stack } from "../stack/stack.ts";

/** The file system of its own on which a Postgres has all its data. */
export type SmallDisk = {
  /** Takes all that is free; again and again, if space is given back meanwhile. */
  fill(): void;
  free(): void;
  /** Takes the file system away, once nobody uses it any more. */
  remove(): void;
};

/** The data of a fresh system is some 100 MB; what is filled is memory. */
const SIZE_MB = 512;
const CHUNK_BYTES = [1_048_576, 4_096];

/** Why no small disk can be had here; undefined if it can. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== "linux") return "only Linux has a file system in memory to mount";
  const folder = mkdtempSync(join(tmpdir(), "holdfast-mount-"));
  try {
    mount(folder);
    unmount(folder);
    return undefined;
  } catch {
    return "this user may not mount a file system";
  } finally {
    rmdirSync(folder);
  }
}

/** Moves the data of a stack's Postgres to a small file system; the server is stopped meanwhile. */
export async function moveToSmallDisk(stack: Stack, stackFolder: string): Promise<SmallDisk> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-small-disk-"));
  const ballast = join(folder, "ballast");
  const remove = () => {
    process.off("exit", remove);
    unmount(folder);
    // Fails if it is still mounted.
    rmdirSync(folder);
  };
  // However the run ends, the memory is given back.
  process.once("exit", remove);
  const disk: SmallDisk = {
    fill: () => fill(ballast),
    free: () => rmSync(ballast, { force: true }),
    remove,
  };
  try {
    mount(folder);
    await stack.halt("postgres");
    const data = join(stackFolder, "postgres");
    // cp keeps the owner, who is not root.
    execFileSync("cp", ["-a", data, join(folder, "data")]);
    renameSync(data, `${data}.before`);
    symlinkSync(join(folder, "data"), data);
    await stack.start("postgres");
    return disk;
  } catch (error) {
    await stack.stop(true).finally(remove);
    throw error;
  }
}

function fill(ballast: string): void {
  const file = openSync(ballast, "a");
  try {
    for (const bytes of CHUNK_BYTES) writeUntilFull(file, Buffer.alloc(bytes));
  } finally {
    closeSync(file);
  }
}

function writeUntilFull(file: number, chunk: Buffer): void {
  for (;;) {
    try {
      if (writeSync(file, chunk) < chunk.length) return;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") return;
      throw error;
    }
  }
}

function mount(folder: string): void {
  // Its owner is root, and the server's user passes through.
  const options = `size=${SIZE_MB}m,mode=0711`;
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { stdio: "pipe" });
}

// Lazily: whoever still has a file open there keeps it until he ends. It may never have been mounted.
function unmount(folder: string): void {
  spawnSync("umount", ["-l", folder], { stdio: "pipe" });
}
