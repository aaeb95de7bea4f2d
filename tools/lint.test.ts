import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, suite, test } from "node:test";
import { differences } from "./generate.ts";

const ROOT = join(import.meta.dirname, "..");
const LINT_TIMEOUT_MS = 60_000;

/**
 * What the linter and the compiler must see: the text, where it stands, and the name of the rule that refuses
 * it.
 */
const planted: [rule: string, path: string, text: string][] = [
  ["no-floating-promises", "libs/a/promise.ts", "async function a() {}\na();"],
  [
    "no-floating-promises",
    "libs/a/query.ts",
    'import type { Sql } from "postgres";\n(sql: Sql) => { sql`select 1`; };',
  ],
  ["no-misused-promises", "libs/a/misused.ts", "[1].forEach(async (a) => { await Promise.resolve(a); });"],
  ["await-thenable", "libs/a/thenable.ts", "await 1;"],
  ["switch-exhaustiveness-check", "libs/a/switch.ts", '(a: "b" | "c") => { switch (a) { case "b": } };'],
  ["no-explicit-any", "libs/a/any.ts", "(a: any) => a;"],
  ["no-unsafe-return", "libs/a/unsafe.ts", "(): string => JSON.parse('1');"],
  ["ban-ts-comment", "libs/a/ignore.ts", "// @ts-ignore\nconst a: string = 1;"],
  ["ban-ts-comment", "libs/a/expect.ts", "// @ts-expect-error: no\nconst a: string = 1;"],
  ["no-default-export", "libs/a/default.ts", "export default 1;"],
  ["no-unused-vars", "libs/a/unused.ts", "const a = 1;"],
  ["no-process-env", "services/order/api.ts", "process.env;"],
  ["no-restricted-imports", "services/order/store.ts", 'import { env } from "node:process";\nenv;'],
  ["no-console", "services/order/events.ts", "console.log(1);"],
  ["no-cycle", "libs/a/cycle.ts", 'import { b } from "./circle.ts";\nexport const a = () => b;'],
  ["no-cycle", "libs/a/circle.ts", 'import { a } from "./cycle.ts";\nexport const b = () => a;'],
];

const lawful: [path: string, text: string][] = [
  ["services/order/main.ts", "export const env = process.env;"],
  ["tools/say.ts", "console.log(process.env);"],
  ["libs/a/fact.test.ts", 'import { test } from "node:test";\ntest("a fact", () => {});'],
  [
    "libs/a/throws.ts",
    'export const a = (b: "c" | "d") => { switch (b) { case "c": return 1; default: throw new Error(b); } };',
  ],
];

suite("the linter sees what is planted", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-lint-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of [".oxlintrc.json", "tsconfig.json", "package.json"]) {
    cpSync(join(ROOT, name), join(folder, name));
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  for (const [path, text] of [...planted.map(([, ...file]) => file), ...lawful]) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), `${text}\n`);
  }
  // The folders are named because the linter would otherwise walk through the link to the packages.
  const { stdout } = spawnSync(
    join(ROOT, "node_modules", ".bin", "oxlint"),
    ["--type-aware", "--format=unix", "libs", "services", "tools"],
    { cwd: folder, encoding: "utf8", timeout: LINT_TIMEOUT_MS },
  );
  const said = stdout.split("\n");

  for (const [rule, path] of planted) {
    test(`${rule} in ${path}`, () => {
      assert.ok(
        said.some((line) => line.includes(path) && line.includes(`(${rule})`)),
        stdout,
      );
    });
  }
  for (const [path] of lawful) {
    test(`nothing in ${path}`, () => {
      assert.deepEqual(
        said.filter((line) => line.includes(path)),
        [],
      );
    });
  }
});

test("generated code that is stale, missing or left over is told apart", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-generated-"));
  try {
    const [fresh, committed] = [join(folder, "fresh"), join(folder, "committed")];
    for (const side of [fresh, committed]) mkdirSync(join(side, "v1"), { recursive: true });
    for (const side of [fresh, committed]) writeFileSync(join(side, "v1", "same.ts"), "same");
    writeFileSync(join(fresh, "v1", "order.ts"), "new");
    writeFileSync(join(committed, "v1", "order.ts"), "old");
    writeFileSync(join(fresh, "added.ts"), "");
    writeFileSync(join(committed, "removed.ts"), "");
    assert.deepEqual(differences(fresh, committed), [
      "added.ts is missing",
      "removed.ts is left over",
      `${join("v1", "order.ts")} is stale`,
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
