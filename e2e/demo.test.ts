/**
 * The demo on a stack whose parts are killed meanwhile: its buyers retry, and every number is right all the
 * same.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assertConsistent, startTestSystem, type TestSystem, until } from "./testing.ts";

const DEMO = join(import.meta.dirname, "..", "demo", "main.ts");

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, inventory: 2, env: { LOG_LEVEL: "warn" } });
});

after(() => system?.stop());

/** Starts the demo against the system, and tells what it has said so far. */
function startDemo() {
  const child = spawn(process.execPath, [DEMO], {
    env: { ...process.env, GATEWAY_URL: system.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stdout.on("data", (piece: Buffer) => (said += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (said += piece.toString()));
  const ended = once(child, "exit");
  return { said: () => said, isEnded: () => child.exitCode !== null, ended };
}

async function killOnce(name: string): Promise<void> {
  const pid = system.stack.processes().get(name);
  await system.stack.kill(name, "SIGKILL");
  await system.stack.ready(name);
  assert.notEqual(system.stack.processes().get(name), pid);
}

for (const victims of [
  ["order-1", "inventory-1", "postgres"],
  ["envoy", "order-2", "inventory-2"],
  ["rabbitmq"],
]) {
  test(`the demo's numbers are right though ${victims.join(", ")} are killed meanwhile`, async () => {
    const demo = startDemo();
    await until(
      "the shop is open",
      () => demo.said(),
      (said) => said.includes("Three orders"),
    );
    let kills = 0;
    for (const victim of victims) {
      if (demo.isEnded()) break;
      await killOnce(victim);
      kills += 1;
    }
    await demo.ended;
    assert(/All [\d,]+ values are right/.test(demo.said()), demo.said());
    assert(kills > 0, "the demo was over before anything was killed");
    await assertConsistent(system);
  });
}
