import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { makeThrowAwayFolder } from "./folder.ts";
import { findFreePorts, isPortFree } from "./ports.ts";
import { Problem } from "./problem.ts";
import { startStack } from "./stack.ts";

test("a port that is taken is told in two lines, before anything is started", async () => {
  const [gateway = 0] = await findFreePorts(1);
  const server = createServer();
  server.listen(gateway + 2, "127.0.0.1");
  await once(server, "listening");
  const folder = makeThrowAwayFolder("taken");
  await assert.rejects(
    startStack({ folder, ports: gateway, order: 1, inventory: 1, throwAway: true }),
    (error) => {
      assert(error instanceof Problem);
      assert.equal(error.what, `Port ${gateway + 2}, meant for Postgres, is taken by another program.`);
      assert.match(error.remedy, /HOLDFAST_PORT=\d+ make dev$/);
      return true;
    },
  );
  assert.equal(existsSync(folder), false, "the throw-away folder is left");
  server.close();
});

test("free ports are free, differ, and are not handed out twice", async () => {
  const ports = [...(await findFreePorts(20)), ...(await findFreePorts(20))];
  assert.equal(new Set(ports).size, 40);
  for (const port of ports) assert(await isPortFree(port));
});

test("a setting that makes no sense is told in two lines", () => {
  for (const [name, value] of [
    ["HOLDFAST_PORT", "http"],
    ["HOLDFAST_PORT", "65535"],
    ["ORDER", "0"],
    ["INVENTORY", "10"],
  ] as const) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, "dev.ts")], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], [name]: value },
    });
    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      new RegExp(`^${name} is "${value}"\\.\\nGive a whole number from 1 to \\d+, .*\\n$`),
    );
  }
});
