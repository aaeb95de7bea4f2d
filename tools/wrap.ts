/**
 * Wraps comments that run past the line's end, which the formatter leaves alone: `node tools/wrap.ts` for the
 * whole tree, or with paths. Code and tables stay as they are.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { LINE_CHARACTERS } from "./tidy/layout.ts";
import { type SourceFile, sourceFile } from "./tidy/source.ts";
import { ROOT, readTree } from "./tidy.ts";

// A line that begins like this stands for itself and takes no words from the line before.
const OWN_LINE = /^(\s|[-*|@+]|\d+\.|```|$)/;

const MARKS: [RegExp, RegExp][] = [
  [/\.(ts|proto)$/, /^(\s*(?:\/\/|\*) )(.*)$/],
  [/\.sql$/, /^(\s*-- )(.*)$/],
  [/\.sh$|(^|\/)Makefile$/, /^(\s*# )(.*)$/],
];

/** Returns the text with its overlong comments wrapped; the same text when there are none. */
export function wrapped(path: string, text: string): string {
  const mark = MARKS.find(([files]) => files.test(path))?.[1];
  if (mark === undefined) return text;
  const file = sourceFile(path, opened(path, text));
  const isComment = commentLines(file);
  const waiting = file.lines.map((line, index) => ({ line, comment: isComment(index + 1) }));
  const done: string[] = [];
  for (let head = waiting.shift(); head !== undefined; head = waiting.shift()) {
    const [prefix, words] = mark.exec(head.line)?.slice(1) ?? [];
    const cut = head.line.lastIndexOf(" ", LINE_CHARACTERS);
    if (
      !head.comment ||
      prefix === undefined ||
      words === undefined ||
      !isLong(head.line) ||
      cut < prefix.length
    ) {
      done.push(head.line);
      continue;
    }
    done.push(head.line.slice(0, cut));
    const rest = head.line.slice(cut + 1);
    const [nextPrefix, nextWords = ""] = mark.exec(waiting[0]?.line ?? "")?.slice(1) ?? [];
    const joins = waiting[0]?.comment && nextPrefix === prefix && !OWN_LINE.test(nextWords);
    if (joins) waiting.shift();
    waiting.unshift({ line: prefix + (joins ? `${rest} ${nextWords}` : rest), comment: true });
  }
  return `${done.join("\n")}\n`;
}

function isLong(line: string): boolean {
  return line.length > LINE_CHARACTERS;
}

// A long comment on one line, /** like this */, needs room for its stars.
function opened(path: string, text: string): string {
  const file = sourceFile(path, text);
  if (!path.endsWith(".ts") || !file.lines.some(isLong)) return text;
  const isComment = commentLines(file);
  const lines = file.lines.map((line, index) => {
    const [indent, words] = /^( *)\/\*\*? (.*) \*\/$/.exec(line)?.slice(1) ?? [];
    if (words === undefined || !isLong(line) || !isComment(index + 1)) return line;
    return `${indent}/**\n${indent} * ${words}\n${indent} */`;
  });
  return `${lines.join("\n")}\n`;
}

function commentLines(file: SourceFile): (line: number) => boolean {
  if (!file.path.endsWith(".ts")) return () => true;
  const lines = new Set(
    file.comments.flatMap(({ text, line }) => text.split("\n").map((_, offset) => line + offset)),
  );
  return (line) => lines.has(line);
}

if (import.meta.main) {
  const paths = process.argv.slice(2);
  const chosen = (path: string) => paths.length === 0 || paths.some((start) => path.startsWith(start));
  for (const { path, text } of readTree().filter((file) => chosen(file.path))) {
    const after = wrapped(path, text);
    if (after !== text) writeFileSync(join(ROOT, path), after);
  }
}
