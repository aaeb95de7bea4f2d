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
/** Longer than the demo's patience with one call. */
const CHAPTER_TIMEOUT_MS = 120_000;

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

/** Chapters of the demo, and who is killed as soon as it has come to them. */
const plots: Readonly<Record<string, string>>[] = [
  { "Three orders": "order-1", "Three endings": "inventory-1", "The last": "postgres" },
  { "Three orders": "envoy", "Three endings": "order-2", "The last": "inventory-2" },
  { "Three orders": "rabbitmq" },
];

for (const plot of plots) {
  const victims = Object.values(plot);
  test(`the demo's numbers are right though ${victims.join(", ")} are killed meanwhile`, async () => {
    const demo = startDemo();
    let kills = 0;
    // Beside each other: the demo goes on to the next chapter while a victim is started again.
    const killing = Object.entries(plot).map(async ([chapter, victim]) => {
      await until(
        `the demo has come to "${chapter}"`,
        () => demo.said(),
        (said) => said.includes(chapter) || demo.isEnded(),
        CHAPTER_TIMEOUT_MS,
      );
      if (demo.isEnded()) return;
      await killOnce(victim);
      kills += 1;
    });
    await Promise.all(killing);
    await demo.ended;
    assert(/All [\d,]+ values are right/.test(demo.said()), demo.said());
    assert.equal(kills, victims.length, "the demo was over before all of them were killed");
    await assertConsistent(system);
  });
}
