/**
 * Rules about how the code is written. What the linter and the compiler see by themselves is left to them.
 */
import { importsOf, type Rule, type SourceFile, type Token } from "./source.ts";

/** Node runs the files as they are, so an import names a file that is there. */
export const explicitImports: Rule = {
  name: "explicit-imports",
  check: (tree) =>
    tree.flatMap((file) =>
      importsOf(file)
        .filter(({ specifier }) => /^\.|^#proto\//.test(specifier) && !/\.(ts|json)$/.test(specifier))
        .map(({ specifier, line }) => ({
          path: file.path,
          line,
          advice: `import "${specifier}" with its .ts extension`,
        })),
    ),
};

/** Two assertions in a row turn anything into anything: the compiler is told to look away. */
export const noDoubleAssertion: Rule = {
  name: "no-double-assertion",
  check: (tree) =>
    tree.flatMap((file) =>
      sequences(file, ["as", "unknown", "as"]).map((token) => ({
        path: file.path,
        line: token.line,
        advice: "narrow the value, or give it its type where it is made",
      })),
    ),
};

/** Only syntax that is erased: what an enum, a namespace or a decorator does would need a build. */
export const erasableSyntax: Rule = {
  name: "erasable-syntax",
  check: (tree) =>
    tree.flatMap((file) =>
      file.tokens.flatMap((token, index) => {
        const what = unerasable(file.tokens, index);
        return what ? [{ path: file.path, line: token.line, advice: `no ${what}` }] : [];
      }),
    ),
};

function unerasable(tokens: Token[], index: number): string | undefined {
  const token = tokens[index];
  const named = tokens[index + 1]?.kind === "word";
  if (token?.kind === "sign" && token.text === "@" && named) return "decorators; call a function";
  if (token?.kind !== "word" || tokens[index - 1]?.text === ".") return undefined;
  const opens = tokens[index + 2]?.text === "{";
  if (token.text === "enum" && named && opens) return "enum; use a union of strings or an object as const";
  if (token.text === "namespace" && named && opens) return "namespace; a file is one";
  return undefined;
}

/** Errors are the only family of classes. */
export const noInheritance: Rule = {
  name: "no-inheritance",
  check: (tree) =>
    tree.flatMap((file) =>
      file.tokens.flatMap((token, index) => {
        if (token.text !== "class" || token.kind !== "word" || file.tokens[index - 1]?.text === ".")
          return [];
        const head = file.tokens.slice(index + 1, index + 8).map(({ text }) => text);
        const at = head.indexOf("extends");
        const body = head.indexOf("{");
        if (at === -1 || (body !== -1 && body < at)) return [];
        return head[at + 1]?.endsWith("Error") || head[at + 3]?.endsWith("Error")
          ? []
          : [
              {
                path: file.path,
                line: token.line,
                advice: "no base classes; pass what differs as an argument",
              },
            ];
      }),
    ),
};

/** Who calls an exported function reads one line that says what it promises. */
export const documentedExports: Rule = {
  name: "documented-exports",
  check: (tree) =>
    tree
      .filter((file) => !file.path.endsWith(".test.ts"))
      .flatMap((file) => exportedFunctions(file).map((found) => ({ file, ...found })))
      .filter(({ file, line }) => !hasDocAbove(file, line))
      .map(({ file, name, line }) => ({
        path: file.path,
        line,
        advice: `say above ${name} in a /** line */ what it promises`,
      })),
};

function exportedFunctions(file: SourceFile): { name: string; line: number }[] {
  const { tokens } = file;
  const found = tokens.flatMap((token, index) => {
    if (token.text !== "export" || token.kind !== "word") return [];
    const next = tokens.slice(index + 1, index + 4).map(({ text }) => text);
    const skip = next[0] === "async" ? 1 : 0;
    if (next[skip] === "function") {
      const name = next[skip + 1] === "*" ? tokens[index + skip + 3]?.text : next[skip + 1];
      return [{ name: name ?? "", line: token.line }];
    }
    const isArrow = next[0] === "const" && holdsArrow(tokens, index + 3);
    return isArrow ? [{ name: next[1] ?? "", line: token.line }] : [];
  });
  // Further signatures of an overloaded function share the line above the first.
  return found.filter(({ name }, index) => found[index - 1]?.name !== name);
}

function holdsArrow(tokens: Token[], from: number): boolean {
  let at = from;
  while (tokens[at] !== undefined && tokens[at]?.text !== "=" && tokens[at]?.text !== ";") at += 1;
  if (tokens[at + 1]?.text === "async") at += 1;
  if (tokens[at]?.text === ";" || tokens[at + 1]?.text !== "(") return false;
  let depth = 0;
  for (at += 1; at < tokens.length; at += 1) {
    if (tokens[at]?.text === "(") depth += 1;
    if (tokens[at]?.text === ")") depth -= 1;
    if (depth === 0) break;
  }
  return tokens[at + 1]?.text === "=>" || tokens[at + 1]?.text === ":";
}

function hasDocAbove(file: SourceFile, line: number): boolean {
  return file.comments.some(
    (comment) =>
      comment.text.startsWith("/**") && comment.line + comment.text.split("\n").length - 1 === line - 1,
  );
}

/** A check that is switched off says why, on the spot. */
export const reasonedSuppressions: Rule = {
  name: "reasoned-suppressions",
  check: (tree) =>
    tree.flatMap((file) =>
      file.comments
        .filter(({ text }) => /^\/[/*]+\s*(oxlint|eslint)-disable/.test(text) && !/ -- \w+ \w+/.test(text))
        .map(({ line }) => ({ path: file.path, line, advice: "end the comment with ` -- ` and the reason" })),
    ),
};

/** A test that sleeps is slow on a fast machine and fails on a slow one. */
export const testsDoNotSleep: Rule = {
  name: "tests-do-not-sleep",
  check: (tree) =>
    tree
      .filter((file) => file.path.endsWith(".test.ts"))
      .flatMap((file) =>
        [
          ...sequences(file, ["await", "setTimeout"]),
          ...sequences(file, ["await", "sleep"]),
          ...wrapped(file),
        ].map(({ line }) => ({ path: file.path, line, advice: "poll for the fact with a deadline" })),
      ),
};

// The other way to sleep: a promise that a timer resolves.
function wrapped(file: SourceFile): Token[] {
  return sequences(file, ["new", "Promise"]).filter((token) => {
    const at = file.tokens.indexOf(token);
    const executor = file.tokens.slice(at, at + 14).map(({ text }) => text);
    return executor.join(" ").match(/=> (\{ )?setTimeout \( (\w+) ,/) !== null;
  });
}

function sequences(file: SourceFile, words: string[]): Token[] {
  return file.tokens.filter((_, index) =>
    words.every((word, offset) => {
      const token = file.tokens[index + offset];
      return token?.kind === "word" && token.text === word;
    }),
  );
}
