/**
 * What the tidy rules read: files cut into tokens. TypeScript 7 has no JavaScript API, and the rules need
 * only to tell code from comments, strings, templates and regular expressions, which these few patterns do.
 */

/** A piece of TypeScript. A template's text is its literal part, with `$` where a value is put in. */
export type Token = {
  kind: "word" | "number" | "string" | "template" | "regex" | "sign" | "comment";
  text: string;
  line: number;
};

/** A file of the tree; `tokens` (without comments) and `comments` are empty unless it is TypeScript. */
export type SourceFile = {
  path: string;
  text: string;
  lines: string[];
  tokens: Token[];
  comments: Token[];
};

/** The files that are judged together. */
export type Tree = SourceFile[];

/** Where a rule is broken, and what to do about it. */
export type Finding = { path: string; line: number; advice: string };

/** A rule of the house that a program can check. */
export type Rule = { name: string; check: (tree: Tree) => Finding[] };

type Cursor = { text: string; at: number; line: number; tokens: Token[] };

const SPACE = /\s+/y;
const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const STRING = /"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'/y;
const NUMBER = /\d[\w.]*/y;
const WORD = /[A-Za-z_$#][\w$]*/y;
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/y;
const SIGN = /=>|\?\.|\.\.\.|[\s\S]/y;

// After these a slash begins a regular expression, although they look like names.
const BEFORE_REGEX = new Set([
  "return",
  "typeof",
  "case",
  "in",
  "of",
  "await",
  "yield",
  "delete",
  "void",
  "else",
]);

/** Returns the file with its tokens, if it is TypeScript. */
export function sourceFile(path: string, text: string): SourceFile {
  const all = path.endsWith(".ts") ? tokensOf(text) : [];
  return {
    path,
    text,
    lines: text.replace(/\n$/, "").split("\n"),
    tokens: all.filter((token) => token.kind !== "comment"),
    comments: all.filter((token) => token.kind === "comment"),
  };
}

/** Returns a tree of the given texts by path, as the tests plant them. */
export function treeOf(texts: Record<string, string>): Tree {
  return Object.entries(texts).map(([path, text]) => sourceFile(path, text));
}

/** Cuts TypeScript into tokens, comments included, in the order in which they begin. */
export function tokensOf(text: string): Token[] {
  const cursor: Cursor = { text, at: 0, line: 1, tokens: [] };
  lexUntil(cursor, undefined);
  return cursor.tokens;
}

function lexUntil(cursor: Cursor, end: string | undefined): void {
  let depth = 0;
  while (cursor.at < cursor.text.length) {
    if (taken(cursor, SPACE) !== undefined) continue;
    if (cursor.text[cursor.at] === "`") {
      lexTemplate(cursor);
      continue;
    }
    if (push(cursor, "comment", COMMENT) || push(cursor, "string", STRING)) continue;
    if (push(cursor, "number", NUMBER) || push(cursor, "word", WORD)) continue;
    if (slashBeginsRegex(cursor) && push(cursor, "regex", REGEX)) continue;
    const sign = cursor.text[cursor.at];
    if (sign === end && depth === 0) return;
    if (sign === "{") depth += 1;
    if (sign === "}") depth -= 1;
    push(cursor, "sign", SIGN);
  }
}

function lexTemplate(cursor: Cursor): void {
  const token: Token = { kind: "template", text: "", line: cursor.line };
  cursor.tokens.push(token);
  cursor.at += 1;
  while (cursor.at < cursor.text.length) {
    const sign = cursor.text[cursor.at] ?? "";
    if (sign === "`") {
      cursor.at += 1;
      return;
    }
    if (cursor.text.startsWith("${", cursor.at)) {
      token.text += "$";
      cursor.at += 2;
      lexUntil(cursor, "}");
      cursor.at += 1;
      continue;
    }
    const piece = sign === "\\" ? cursor.text.slice(cursor.at, cursor.at + 2) : sign;
    token.text += piece;
    cursor.at += piece.length;
    if (piece.includes("\n")) cursor.line += 1;
  }
}

function slashBeginsRegex(cursor: Cursor): boolean {
  if (cursor.text[cursor.at] !== "/") return false;
  const before = cursor.tokens.findLast((token) => token.kind !== "comment");
  if (before === undefined) return true;
  if (before.kind === "word") return BEFORE_REGEX.has(before.text);
  return before.kind === "sign" && ![")", "]", "}"].includes(before.text);
}

function push(cursor: Cursor, kind: Token["kind"], pattern: RegExp): boolean {
  const line = cursor.line;
  const text = taken(cursor, pattern);
  if (text === undefined) return false;
  cursor.tokens.push({ kind, text, line });
  return true;
}

function taken(cursor: Cursor, pattern: RegExp): string | undefined {
  pattern.lastIndex = cursor.at;
  const text = pattern.exec(cursor.text)?.[0];
  if (text === undefined) return undefined;
  cursor.at += text.length;
  cursor.line += text.split("\n").length - 1;
  return text;
}

/**
 * Returns the text with what stands in comments and quotes blanked out, line for line; for SQL and protos.
 */
export function blanked(text: string, lineComment: "--" | "//"): string {
  const quotes = lineComment === "--" ? "'(?:''|[^'])*'" : '"(?:\\\\.|[^"\\\\\\n])*"';
  const hidden = new RegExp(`${lineComment}[^\\n]*|/\\*[\\s\\S]*?\\*/|${quotes}`, "g");
  return text.replace(hidden, (piece) => piece.replace(/[^\n]/g, " "));
}

/** Tells whether a file is a test, or serves tests alone: `testing.ts`, `testing/`. */
export function isTest(path: string): boolean {
  return path.endsWith(".test.ts") || /(^|\/)testing(\.ts$|\/)/.test(path);
}

/** Tells which service a path lies in, if any. */
export function serviceOf(path: string): string | undefined {
  return /^services\/([^/]+)\//.exec(path)?.[1];
}

/**
 * What one import names, and where: the text between the quotes of `from "..."`, `import "..."` or
 * `import("...")`.
 */
export function importsOf(file: SourceFile): { specifier: string; line: number }[] {
  const { tokens } = file;
  return tokens.flatMap((token, index) => {
    if (token.kind !== "string") return [];
    const before = tokens[index - 1];
    const called = before?.text === "(" && tokens[index - 2]?.text === "import";
    const named = before?.kind === "word" && (before.text === "from" || before.text === "import");
    return called || named ? [{ specifier: token.text.slice(1, -1), line: token.line }] : [];
  });
}
