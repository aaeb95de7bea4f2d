import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

test("every line is written once and in its order, also those of the turn in which the process ends", () => {
  // Less than is gathered before it is written: all of it is written at the end.
  const [turns, lines] = [3, 10];
  const fixture = join(import.meta.dirname, "log.fixture.ts");
  const child = spawnSync(process.execPath, [fixture, String(turns), String(lines)], { encoding: "utf8" });
  assert.equal(child.status, 0, child.stderr);
  const written = child.stdout
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line));
  const wanted = Array.from({ length: turns * lines }, (_, index) => [
    Math.floor(index / lines),
    index % lines,
  ]);
  assert.deepEqual(written.map(placeOf), wanted);
});

function placeOf(line: unknown): unknown[] {
  assert.ok(typeof line === "object" && line !== null && "turn" in line && "line" in line);
  return [line.turn, line.line];
}
