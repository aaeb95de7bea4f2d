import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makeThrowAwayFolder } from "./folder.ts";
import { findFreePorts } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Stack, startStack } from "./stack.ts";
import { lives, until } from "./testing.ts";

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

describe("the whole system, two instances of each service", () => {
  const lines: string[] = [];
  let stack: Stack;

  before(async () => {
    const folder = makeThrowAwayFolder("whole");
    const log = (line: string) => lines.push(line);
    stack = await startStack({ folder, ports: "free", order: 2, inventory: 2, throwAway: true, log });
  });

  after(() => stack.stop());

  test("every part runs, under the name that its pid file has", () => {
    const names = [
      "envoy",
      "epmd",
      "inventory-1",
      "inventory-2",
      "order-1",
      "order-2",
      "postgres",
      "rabbitmq",
    ];
    assert.deepEqual([...stack.processes().keys()].sort(), names);
  });

  test("its gateway answers for both services", async () => {
    assert.equal((await fetch(`${stack.gatewayUrl}/healthz`)).status, 200);
    for (const path of ["/v1/orders", "/v1/items"]) {
      const response = await fetch(stack.gatewayUrl + path);
      assert.equal(response.status, 200, `${path}: ${await response.text()}`);
    }
  });

  test("an instance that is killed comes back, and the other one answers meanwhile", async () => {
    const killed = stack.processes().get("order-1");
    await stack.kill("order-1", "SIGKILL");
    assert.equal((await fetch(`${stack.gatewayUrl}/v1/orders`)).status, 200);
    await stack.ready("order-1");
    assert.notEqual(stack.processes().get("order-1"), killed);
  });

  test("a part can be halted, started and restarted", async () => {
    await stack.halt("inventory-2");
    assert.equal(stack.processes().has("inventory-2"), false);
    await stack.start("inventory-2");
    await stack.restart("envoy");
    await until("the gateway answers", async () => {
      const answer = await fetch(`${stack.gatewayUrl}/healthz`).catch(() => undefined);
      return answer?.status === 200;
    });
  });

  test("it stops in good order and leaves no process behind", async () => {
    const pids = [...stack.processes().values()];
    lines.length = 0;
    await stack.stop();
    assert.deepEqual(lines, []);
    assert.equal(pids.some(lives), false);
  });
});
