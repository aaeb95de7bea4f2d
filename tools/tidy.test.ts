import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { plants } from "./tidy/plants.ts";
import { tokensOf, treeOf } from "./tidy/source.ts";
import { withNewSeals } from "./tidy/sql.ts";
import { findingsOf, readTree, rules } from "./tidy.ts";
import { wrapped } from "./wrap.ts";

test("the tree keeps the rules of the house", () => {
  const tree = readTree();
  assert.ok(tree.length > 20, "the tree was read");
  const findings = findingsOf(tree);
  assert.equal(findings.length, 0, `\n${findings.join("\n")}\n`);
});

suite("each rule sees its violation", () => {
  for (const rule of rules) {
    test(rule.name, () => {
      const own = plants[rule.name] ?? [];
      assert.ok(own.length > 0, `plant a violation of ${rule.name} in tools/tidy/plants.ts`);
      for (const { broken, at, kept } of own) {
        const found = rule.check(treeOf(broken)).map(({ path, line }) => `${path}:${line}`);
        assert.deepEqual(found, [at]);
        assert.deepEqual(rule.check(treeOf(kept)), []);
      }
    });
  }
});

test("every plant belongs to a rule", () => {
  const names = new Set(rules.map(({ name }) => name));
  assert.deepEqual(
    Object.keys(plants).filter((name) => !names.has(name)),
    [],
  );
});

test("sealing adds a new migration and leaves the seal of an edited one as it was", () => {
  const first = "services/order/migrations/0001_orders.sql";
  const second = "services/order/migrations/0002_history.sql";
  const sealed = withNewSeals(treeOf({ [first]: "create table orders ();" }));
  const again = withNewSeals(treeOf({ [first]: "edited", [second]: "", "tools/migrations.sealed": sealed }));
  assert.equal(sealed.trim().split("\n").length, 1);
  assert.ok(again.startsWith(sealed));
  assert.ok(again.endsWith(`  ${second}\n`));
});

suite("the lexer tells code from what is quoted", () => {
  const table: [title: string, text: string, expected: string[]][] = [
    ["a comment in a string", 'a("// no")', ["word a", "sign (", 'string "// no"', "sign )"]],
    ["a string in a comment", 'a // "b"', ["word a", 'comment // "b"']],
    ["a division", "a / b / c", ["word a", "sign /", "word b", "sign /", "word c"]],
    ["a regular expression", "return /[/`]/g", ["word return", "regex /[/`]/g"]],
    ["a quote escaped in a string", '"\\"`" b', ['string "\\"`"', "word b"]],
    [
      "a template in a template",
      "`a ${b(`c ${d}`)} e` f",
      ["template a $ e", "word b", "sign (", "template c $", "word d", "sign )", "word f"],
    ],
    [
      "an object in a template",
      "`${{ a: {} }}` b",
      ["template $", "sign {", "word a", "sign :", "sign {", "sign }", "sign }", "word b"],
    ],
  ];
  for (const [title, text, expected] of table) {
    test(title, () => {
      assert.deepEqual(
        tokensOf(text).map((token) => `${token.kind} ${token.text}`),
        expected,
      );
    });
  }

  test("lines are counted through templates, comments and strings", () => {
    const tokens = tokensOf("`\n${a}\n`\n/*\n*/ b");
    assert.equal(tokens.find(({ text }) => text === "b")?.line, 5);
  });
});

suite("a comment that runs past the line's end", () => {
  const words = "word ".repeat(24).trim();

  test("gives its last words to the next line", () => {
    const text = wrapped("a.ts", `  // ${words}\n  // and so on.\n`);
    assert.equal(text, `  // ${"word ".repeat(21)}`.trimEnd() + "\n  // word word word and so on.\n");
  });

  test("does not run into a list, a blank line or code", () => {
    for (const next of ["// - an entry", "//", "const a = 1;"]) {
      const text = wrapped("a.ts", `// ${words}\n${next}\n`);
      assert.ok(text.endsWith(`\n// word word word\n${next}\n`), text);
    }
  });

  test("of one line gets room for its stars", () => {
    const text = wrapped("a.ts", `/** ${words} */\nlet a;\n`);
    assert.match(text, /^\/\*\*\n \* word.*\n \* word.*\n \*\/\nlet a;\n$/);
  });

  test("is not one when it stands in a template", () => {
    const text = `const a = \`\n// ${words}\n/** ${words} */\n\`;\n`;
    assert.equal(wrapped("a.ts", text), text);
  });
});
