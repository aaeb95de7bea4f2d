import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const MAIN = join(import.meta.dirname, "main.ts");
const TIMEOUT_MS = 120_000;

function runDemo(env: Record<string, string>) {
  const surroundings = {
    PATH: process.env["PATH"],
    HOME: process.env["HOME"],
    ENVOY_BIN: process.env["ENVOY_BIN"],
  };
  return spawnSync(process.execPath, [MAIN], {
    encoding: "utf8",
    env: { ...surroundings, ...env },
    timeout: TIMEOUT_MS,
  });
}

test("the demo tells its story on a stack of its own, and every value is right", () => {
  const { status, stdout, stderr } = runDemo({});
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(stdout, /500 buyers want one, all at once +100 won\n/);
  assert.match(stdout, /400 INSUFFICIENT_STOCK\n/);
  assert.match(stdout, /EXPIRED by nudge/);
  assert.match(stdout, /All [\d,]+ values are right, in [\d.]+ s\./);
  assert.doesNotMatch(stdout, /✗|were sent again/);
  // Written into a file it has neither colours nor lines that replace others.
  assert(!stdout.includes("\u001b") && !stdout.includes("\r"));
  for (const line of stdout.split("\n")) assert(line.length <= 80, line);
});

test("the demo says in two lines that the stack that it was given does not answer", () => {
  const { status, stderr } = runDemo({ GATEWAY_URL: "http://127.0.0.1:1" });
  assert.equal(status, 1);
  const [what, remedy] = stderr.trim().split("\n");
  assert.equal(what, "http://127.0.0.1:1/healthz does not say that all is well.");
  assert.match(remedy ?? "", /^Start the stack first/);
});
