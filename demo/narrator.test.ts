import assert from "node:assert/strict";
import { test } from "node:test";
import { createNarrator, wrap } from "./narrator.ts";

/** A screen that is only remembered. */
function createScreen(columns: number) {
  const written: string[] = [];
  const screen = { columns, isTerminal: false, write: (text: string) => void written.push(text) };
  return { screen, text: () => written.join("") };
}

test("a step is one line with its time, its mark and its result at the end", async () => {
  const { screen, text } = createScreen(60);
  await createNarrator(screen).step("Ann pays", async (expect) => {
    expect("the state", "SETTLED", "SETTLED");
    return "SETTLED";
  });
  assert.match(text(), /^ {3}0\.0 s {2}✓ {2}Ann pays +SETTLED\n$/);
  assert.equal(text().length, 60, text());
});

test("a wrong value is told with what it must be, and the story ends with status 1", async () => {
  const { screen, text } = createScreen(80);
  const narrator = createNarrator(screen);
  await narrator.step("100 win", async (expect) => {
    expect("winners", 101, 100);
    expect("losers", 400, 400);
    return "101";
  });
  assert.match(text(), /✗ {2}100 win/);
  assert.match(text(), /winners: expected 100, but it is 101\n/);
  assert.equal(narrator.verdict(), 1);
  assert.match(text(), /1 of 2 values are wrong/);
});

test("a story whose values are all right ends with status 0", async () => {
  const { screen, text } = createScreen(80);
  const narrator = createNarrator(screen);
  await narrator.step("it is so", async (expect) => {
    expect("the lines", [{ sku: "mug", quantity: 2n }], [{ sku: "mug", quantity: 2n }]);
    return "";
  });
  assert.equal(narrator.verdict(), 0);
  assert.match(text(), /All 1 values are right/);
});

test("a step that fails is marked, and its failure goes on", async () => {
  const { screen, text } = createScreen(80);
  const failing = createNarrator(screen).step("it breaks", async () => {
    throw new Error("broken");
  });
  await assert.rejects(failing, /broken/);
  assert.match(text(), /✗ {2}it breaks\n$/);
});

test("no line is longer than the screen, nor than 100 characters", async () => {
  for (const [columns, longest] of [
    [60, 60],
    [80, 80],
    [200, 101],
  ] as const) {
    const { screen, text } = createScreen(columns);
    const narrator = createNarrator(screen);
    await narrator.step("word ".repeat(60).trim(), async () => "a result");
    narrator.note("word ".repeat(60).trim());
    narrator.say("word ".repeat(60).trim());
    for (const line of text().split("\n")) assert(line.length < longest, line);
  }
});

test("words are kept whole", () => {
  assert.deepEqual(wrap("three small words", 11), ["three small", "words"]);
  assert.deepEqual(wrap("indivisible", 5), ["indivisible"]);
});
