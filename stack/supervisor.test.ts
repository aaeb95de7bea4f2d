import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { makeThrowAwayFolder } from "./folder.ts";
import { identify } from "./identity.ts";
import { readRecord, runFolder, writeRecord } from "./record.ts";
import { createSupervisor } from "./supervisor.ts";
import { lives, planSleeper, until } from "./testing.ts";

const NAMES = ["first", "second", "stubborn"];
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function makeFolder(): string {
  const folder = makeThrowAwayFolder("supervisor");
  folders.push(folder);
  return folder;
}

type SmallStack = { child: ChildProcess; folder: string; pids: number[]; guard: number; lines: string[] };

async function runSmallStack(folder: string, throwAway: "yes" | "no" = "no"): Promise<SmallStack> {
  const fixture = join(import.meta.dirname, "supervisor.fixture.ts");
  const child = spawn(process.execPath, [fixture, folder, throwAway], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  await until("the small stack runs", () => lines.includes("running"));
  const pids = NAMES.map((name) => pidOf(folder, name));
  const guard = readRecord(folder)?.guard?.pid;
  assert(guard !== undefined);
  await until("all of them live", () => pids.every(lives));
  const grandchild = /child (\d+)/.exec(readFileSync(join(folder, "log", "stubborn.log"), "utf8"))?.[1];
  return { child, folder, pids: grandchild ? [...pids, Number(grandchild)] : pids, guard, lines };
}

function pidOf(folder: string, name: string): number {
  return Number(readFileSync(join(runFolder(folder), `${name}.pid`), "utf8"));
}

async function nothingIsLeft({ folder, pids, guard }: SmallStack): Promise<void> {
  await until("no process is left", () => ![...pids, guard].some(lives));
  if (existsSync(folder)) assert.deepEqual(readdirSync(runFolder(folder)), []);
}

// Side by side, because most of them wait for the stubborn process to be killed.
describe("a stack that ends badly", { concurrency: true }, () => {
  test("a second Ctrl-C ends everything at once, also what ignores the first", {
    timeout: 30_000,
  }, async () => {
    const stack = await runSmallStack(makeFolder());
    stack.child.kill("SIGINT");
    await until("it is stopping", () => stack.lines.some((line) => line.startsWith("stopping;")));
    stack.child.kill("SIGINT");
    const [code] = await once(stack.child, "exit");
    assert.equal(code, 130);
    await nothingIsLeft(stack);
  });

  test("when the stack is killed, its guard ends every process", async () => {
    const stack = await runSmallStack(makeFolder());
    stack.child.kill("SIGKILL");
    await nothingIsLeft(stack);
  });

  test("when a stack with throw-away data is killed, its folder goes too", async () => {
    const stack = await runSmallStack(makeFolder(), "yes");
    stack.child.kill("SIGKILL");
    await nothingIsLeft(stack);
    assert.equal(existsSync(stack.folder), false);
  });

  test("a guard that is killed is replaced", async () => {
    const stack = await runSmallStack(makeFolder());
    process.kill(stack.guard, "SIGKILL");
    await until("there is another guard", () => {
      const guard = readRecord(stack.folder)?.guard?.pid;
      return guard !== undefined && guard !== stack.guard;
    });
    const second = readRecord(stack.folder)?.guard?.pid;
    stack.child.kill("SIGKILL");
    await nothingIsLeft(stack);
    await until("the second guard has ended", () => second !== undefined && !lives(second));
  });

  test("when stack and guard were killed, the next start ends what they left", async () => {
    const stack = await runSmallStack(makeFolder());
    stack.child.kill("SIGKILL");
    process.kill(stack.guard, "SIGKILL");
    await until("both are dead", () => !lives(stack.guard) && stack.child.signalCode !== null);
    assert(stack.pids.some(lives), "the children outlive both, or this test shows nothing");
    const lines: string[] = [];
    const next = await createSupervisor({
      folder: stack.folder,
      throwAway: false,
      log: (line) => lines.push(line),
    });
    assert.equal(stack.pids.some(lives), false);
    assert(lines.includes("ended first, second, stubborn"), lines.join("\n"));
    await next.stop();
    await nothingIsLeft(stack);
  });
});

test("a process that merely has the number of a dead one is left alone", async () => {
  const folder = makeFolder();
  mkdirSync(runFolder(folder), { recursive: true });
  const innocent = spawn("sleep", ["1000"]);
  try {
    const identity = identify(innocent.pid ?? 0);
    assert(identity);
    const dead = { pid: identity.pid, started: "at another time" };
    const child = { ...dead, name: "first", stopSignal: "SIGTERM" as const, leadsGroup: true };
    writeRecord(folder, { stack: dead, guard: dead, throwAway: false, children: [child] });
    const supervisor = await createSupervisor({ folder, throwAway: false, log: () => {} });
    await supervisor.stop();
    assert(lives(identity.pid));
  } finally {
    innocent.kill("SIGKILL");
  }
});

test("a folder takes one stack at a time, and the second is told which one runs", async () => {
  const folder = makeFolder();
  const first = await createSupervisor({ folder, throwAway: false, log: () => {} });
  await assert.rejects(
    createSupervisor({ folder, throwAway: false, log: () => {} }),
    new RegExp(`runs already from .* \\(process ${process.pid}\\)\\.\\nStop it with Ctrl-C`),
  );
  await first.stop();
  const second = await createSupervisor({ folder, throwAway: false, log: () => {} });
  await second.stop();
});

test("the pid file of a process that was started again has the new number", async () => {
  const folder = makeFolder();
  const supervisor = await createSupervisor({ folder, throwAway: false, log: () => {} });
  const one = await supervisor.start(planSleeper("again"));
  const before = pidOf(folder, "again");
  await one.kill("SIGKILL");
  await until("it runs again", () => one.pid() !== undefined);
  assert.notEqual(pidOf(folder, "again"), before);
  assert.equal(pidOf(folder, "again"), one.pid());
  await supervisor.stop();
  assert.equal(existsSync(join(runFolder(folder), "again.pid")), false);
});

test("nothing is started once the stop has begun", async () => {
  const supervisor = await createSupervisor({ folder: makeFolder(), throwAway: false, log: () => {} });
  const stopped = supervisor.stop();
  await assert.rejects(supervisor.start(planSleeper("late")), /being stopped/);
  await stopped;
});

test("a command that was adopted ends with the stack", async () => {
  const supervisor = await createSupervisor({ folder: makeFolder(), throwAway: false, log: () => {} });
  const command = spawn("sleep", ["1000"]);
  supervisor.adopt("command", command);
  await supervisor.stop();
  assert.equal(command.signalCode, "SIGTERM");
});
