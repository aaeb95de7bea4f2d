import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { findFreePorts, isPortFree } from "./ports.ts";

test("free ports are free, differ, and are not handed out twice", async () => {
  const ports = [...(await findFreePorts(20)), ...(await findFreePorts(40))];
  assert.equal(new Set(ports).size, 60);
  for (const port of ports) assert(await isPortFree(port));
});

test("no two processes are handed the same port, though neither listens on it yet", async () => {
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, [join(import.meta.dirname, "ports.fixture.ts"), "60"], {
      stdio: ["pipe", "pipe", "inherit"],
    }),
  );
  try {
    const printed = await Promise.all(children.map(async ({ stdout }) => String(await once(stdout, "data"))));
    const ports = printed.flatMap((line): number[] => JSON.parse(line));
    assert.equal(ports.length, 4 * 60);
    assert.equal(new Set(ports).size, ports.length);
  } finally {
    for (const { stdin } of children) stdin.end();
    await Promise.all(children.map(async (child) => child.exitCode ?? (await once(child, "exit"))));
  }
});
