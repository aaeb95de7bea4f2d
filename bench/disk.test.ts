import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { watchDisk } from "./disk.ts";

test("the disk is looked at until the watch is stopped, and nothing is left of it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-disk-"));
  try {
    const watch = watchDisk(folder);
    await pause(500);
    const waits = await watch.stop();
    assert.ok(waits.length > 1, `it was looked at ${waits.length} times`);
    assert.ok(waits.every((wait) => wait > 0));
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a folder that is not there is an error of the watch", async () => {
  const watch = watchDisk("/nowhere");
  await pause(300);
  await assert.rejects(watch.stop(), { code: "ENOENT" });
});
