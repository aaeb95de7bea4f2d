import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { readClock, timeSince } from "./clock.ts";

test("a reading is carried on by the steady clock, whatever the process's date is", async (t) => {
  const from = performance.now();
  const reading = readClock(1_000_000);
  t.mock.timers.enable({ apis: ["Date"], now: 42 });
  assert.ok(timeSince(reading) >= 1_000_000);
  await pause(30);
  const time = timeSince(reading);
  const passed = performance.now() - from;
  assert.ok(Number.isInteger(time));
  assert.ok(time >= 1_000_025 && time <= 1_000_000 + passed, `${time} after ${passed} ms`);
});
