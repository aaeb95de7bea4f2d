import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Problem } from "./problem.ts";
import { nextPauseMs, type ProcessPlan, type SupervisedProcess, supervise } from "./process.ts";
import { lives, planSleeper, planStubborn, until } from "./testing.ts";

const logFolder = mkdtempSync(join(tmpdir(), "holdfast-process-"));
const started: SupervisedProcess[] = [];
after(async () => {
  await Promise.all(started.map((one) => one.stop(true)));
  rmSync(logFolder, { recursive: true });
});

function make(plan: ProcessPlan): { one: SupervisedProcess; lines: string[]; pids: number[] } {
  const lines: string[] = [];
  const pids: number[] = [];
  const one = supervise(plan, {
    logFolder,
    log: (line) => lines.push(line),
    changed: (pid) => pid !== undefined && pids.push(pid),
  });
  started.push(one);
  return { one, lines, pids };
}

test("a process that dies is started again, each time after a longer pause", async () => {
  const { one, lines, pids } = make(planSleeper("dies"));
  await one.start();
  for (let deaths = 1; deaths <= 3; deaths++) {
    await one.kill("SIGKILL");
    await until("it runs again", () => pids.length === deaths + 1);
  }
  assert.equal(new Set(pids).size, 4);
  assert.equal(one.restarts(), 3);
  assert.deepEqual(lines, [
    "dies ended (SIGKILL); it is started again in 0.2 s",
    "dies ended (SIGKILL); it is started again in 0.4 s",
    "dies ended (SIGKILL); it is started again in 0.8 s",
  ]);
});

test("the pause doubles up to its limit and is short again after a good while", () => {
  const cases = [
    { last: 0, ran: 0, next: 200 },
    { last: 200, ran: 100, next: 400 },
    { last: 3_200, ran: 100, next: 5_000 },
    { last: 5_000, ran: 9_999, next: 5_000 },
    { last: 5_000, ran: 10_000, next: 200 },
  ];
  for (const { last, ran, next } of cases) assert.equal(nextPauseMs(last, ran), next, `${last} ${ran}`);
});

test("a process that dies before it is ready fails the start with its last words", async () => {
  const args = ["-c", "echo no such file >&2; exit 3"];
  const { one, pids } = make(planSleeper("fails", { command: "sh", args, isReady: async () => false }));
  await assert.rejects(one.start(), (error) => {
    assert(error instanceof Problem);
    assert.equal(error.what, "fails ended (status 3) before it was ready.");
    assert.match(error.remedy, /fails\.log.*\n {2}no such file/);
    return true;
  });
  assert.equal(one.pid(), undefined);
  assert.equal(pids.length, 1);
});

test("a program that does not exist fails the start", async () => {
  const { one } = make(planSleeper("absent", { command: "/no/such/program", isReady: async () => false }));
  await assert.rejects(one.start(), /absent ended \(spawn \/no\/such\/program ENOENT\)/);
});

test("a process that is not ready in time fails the start", async () => {
  const { one } = make(planSleeper("slow", { isReady: async () => false, readyTimeoutMs: 100 }));
  await assert.rejects(one.start(), /slow was not ready within 0.1 s/);
});

test("a process that is stopped stays stopped, can be stopped twice, and can be started again", async () => {
  const { one, pids } = make(planSleeper("stops"));
  await one.start();
  await Promise.all([one.stop(), one.stop()]);
  await one.stop();
  assert.equal(one.pid(), undefined);
  assert.equal(pids.some(lives), false);
  await one.start();
  assert.equal(pids.length, 2);
});

test("a process that ignores its stop signal is killed, and what it started with it", async () => {
  const { one, pids } = make(planStubborn("stubborn", 300));
  await one.start();
  const grandchild = await readGrandchild("stubborn");
  await one.stop();
  await until("both have ended", () => !lives(grandchild) && !pids.some(lives));
});

test("a second stop in a hurry does not wait for the first one's limit", { timeout: 30_000 }, async () => {
  const { one, pids } = make(planStubborn("hurried", 60_000));
  await one.start();
  await readGrandchild("hurried");
  const first = one.stop();
  await one.stop(true);
  await first;
  assert.equal(pids.some(lives), false);
});

test("a process that was halted by SIGSTOP can be stopped", async () => {
  const { one, pids } = make(planSleeper("halted"));
  await one.start();
  await one.kill("SIGSTOP");
  await one.stop();
  assert.equal(pids.some(lives), false);
});

test("a process sees none of the surroundings of the stack", async () => {
  process.env["HOLDFAST_TEST_SECRET"] = "seen";
  const args = ["-c", "env; exec sleep 1000"];
  const { one } = make(planSleeper("sees", { command: "sh", args, env: { GIVEN: "yes" } }));
  await one.start();
  const log = () => readFileSync(join(logFolder, "sees.log"), "utf8");
  await until("it has told what it sees", () => log().includes("GIVEN=yes"));
  assert.doesNotMatch(log(), /HOLDFAST_TEST_SECRET|NODE_TEST_CONTEXT/);
});

async function readGrandchild(name: string): Promise<number> {
  const read = () => Number(/child (\d+)/.exec(readFileSync(join(logFolder, `${name}.log`), "utf8"))?.[1]);
  await until("it has started another", () => read() > 0);
  return read();
}
