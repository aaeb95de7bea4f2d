/** The rule about the length of functions. */
import { type Finding, isTest, type Rule, type SourceFile, type Token } from "./source.ts";

const FUNCTION_LINES_BELOW = 70;

type Extent = { name: string; from: number; to: number };

/**
 * A function that is read in one go: under 70 lines of its own. Named functions inside it are judged by
 * themselves and do not count towards it, so that state may be shared by a closure instead of a class.
 */
export const functionLength: Rule = {
  name: "function-length",
  check: (tree) =>
    tree.filter((file) => file.path.endsWith(".ts") && !isTest(file.path)).flatMap(longFunctionsOf),
};

function longFunctionsOf(file: SourceFile): Finding[] {
  const extents = functionsOf(file.tokens);
  return extents
    .map((extent) => ({ extent, lines: ownLinesOf(extent, extents) }))
    .filter(({ lines }) => lines >= FUNCTION_LINES_BELOW)
    .map(({ extent, lines }) => ({
      path: file.path,
      line: extent.from,
      advice: `${extent.name} has ${lines} lines of its own; split it, under ${FUNCTION_LINES_BELOW}`,
    }));
}

function ownLinesOf(extent: Extent, all: readonly Extent[]): number {
  const inside = all.filter(
    (other) => other !== extent && other.from >= extent.from && other.to <= extent.to,
  );
  const outermost = inside.filter(
    (one) => !inside.some((other) => other !== one && other.from <= one.from && other.to >= one.to),
  );
  const nested = outermost.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  return extent.to - extent.from + 1 - nested;
}

function functionsOf(tokens: readonly Token[]): Extent[] {
  return tokens.flatMap((token, index) => {
    if (token.kind !== "word" || token.text !== "function") return [];
    const end = bodyEndOf(tokens, index);
    const name = tokens[index + 1]?.kind === "word" ? tokens[index + 1]?.text : "a function";
    return end === undefined ? [] : [{ name: name ?? "a function", from: token.line, to: end.line }];
  });
}

// The body is the first block behind the parameters that no type annotation claims: a type's braces follow
// `:`, `|`, `&`, `<` or `,`.
function bodyEndOf(tokens: readonly Token[], start: number): Token | undefined {
  let depth = 0;
  let body = false;
  for (let at = start; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token?.kind !== "sign") continue;
    if (token.text === "(" || token.text === "[") depth += 1;
    else if (token.text === ")" || token.text === "]") depth -= 1;
    else if (token.text === "{") {
      if (depth === 0 && !/^[:|&<,]$/.test(tokens[at - 1]?.text ?? "")) body = true;
      depth += 1;
    } else if (token.text === "}") {
      depth -= 1;
      if (depth === 0 && body) return token;
    }
  }
  return undefined;
}
