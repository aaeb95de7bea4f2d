/** How long the disk makes whoever commits wait. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

/** A look at the disk that goes on until it is stopped. */
export type DiskWatch = {
  /** What one byte's way to the disk took each time, in milliseconds. */
  stop(): Promise<number[]>;
};

/** Often enough to meet every stall that many commits meet, and next to nothing beside theirs. */
const EVERY_MS = 50;

/**
 * Writes a byte to a file in this folder 20 times a second and waits each time until the disk has it, in a
 * thread of its own. As the yardstick tells a slow minute of the processors from a slow program, this tells a
 * disk that stood still.
 */
export function watchDisk(folder: string): DiskWatch {
  const worker = new Worker(new URL(import.meta.url), { workerData: join(folder, "disk-watch") });
  const waits = new Promise<number[]>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  // Whoever stops it is told, however long ago it broke.
  waits.catch(() => {});
  return {
    stop: async () => {
      worker.postMessage("stop", []);
      return await waits;
    },
  };
}

function watch(port: NonNullable<typeof parentPort>, file: string): void {
  const descriptor = openSync(file, "w");
  const waits: number[] = [];
  const look = () => {
    const startedAt = performance.now();
    writeSync(descriptor, "x", 0);
    fdatasyncSync(descriptor);
    waits.push(performance.now() - startedAt);
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  port.once("message", () => {
    clearInterval(timer);
    closeSync(descriptor);
    rmSync(file);
    port.postMessage(waits);
  });
}

if (!isMainThread && parentPort) watch(parentPort, String(workerData));
