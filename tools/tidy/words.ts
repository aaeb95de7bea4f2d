/** Rules about the words of the design: one word per concept, everywhere the same. */
import { blanked, type Finding, isTest, type Rule, type SourceFile } from "./source.ts";

type Forbidden = { word: RegExp; instead: string; within: RegExp };

const EVERYWHERE = /^(proto|services|libs|gateway|stack|demo|e2e|bench)\//;

// A word is a part of a name: `heldUnits` and `held_units` both have `held`. "Holdfast" is one word and
// passes.
const FORBIDDEN: Forbidden[] = [
  { word: /^(holds?|holding|held)$/, instead: "reserve, reservation", within: EVERYWHERE },
  { word: /^(de)?allocat(e|es|ed|ing|ions?)$/, instead: "reserve, reservation", within: EVERYWHERE },
  { word: /^deduct(s|ed|ing|ions?)?$/, instead: "commit", within: EVERYWHERE },
  { word: /^products?$/, instead: "item", within: EVERYWHERE },
  // HTTP and exit statuses are met outside the services; inside there are states and codes.
  { word: /^status(es)?$/, instead: "state, or code for an RPC's", within: /^(proto\/holdfast|services)\// },
];

/** Names in TypeScript, SQL and protos use the words of the design. */
export const wordsOfTheDesign: Rule = {
  name: "words-of-the-design",
  check: (tree) =>
    tree
      .filter((file) => EVERYWHERE.test(file.path) && !isTest(file.path))
      .flatMap((file) =>
        namesOf(file).flatMap(({ name, line }) =>
          FORBIDDEN.filter(({ within }) => within.test(file.path)).flatMap(({ word, instead }) =>
            partsOf(name).some((part) => word.test(part))
              ? [{ path: file.path, line, advice: `${name}: the word is ${instead}` }]
              : [],
          ),
        ),
      ),
};

/** Whose data it is comes from the caller's credential; a request that could say it could say another's. */
export const tenantIsTheCallers: Rule = {
  name: "tenant-is-the-callers",
  check: (tree) =>
    tree
      .filter((file) => /^proto\/holdfast\/.*\.proto$/.test(file.path))
      .flatMap(namesOfFile)
      .filter(({ name }) => partsOf(name).includes("tenant"))
      .map(({ path, line }): Finding => ({ path, line, advice: "the tenant comes from the credential" })),
};

function namesOfFile(file: SourceFile) {
  return namesOf(file).map((found) => ({ ...found, path: file.path }));
}

function namesOf(file: SourceFile): { name: string; line: number }[] {
  if (file.path.endsWith(".ts")) {
    return file.tokens.flatMap(({ kind, text, line }) => {
      if (kind === "word") return [{ name: text, line }];
      return kind === "template" && looksLikeSql(text) ? namesIn(text, "--", line) : [];
    });
  }
  if (file.path.endsWith(".sql")) return namesIn(file.text, "--", 1);
  return file.path.endsWith(".proto") ? namesIn(file.text, "//", 1) : [];
}

const STATEMENT = new RegExp(
  `^\\s*(${[
    "select",
    "insert\\s+into",
    "update\\s+\\S+\\s+(\\w+\\s+)?set",
    "delete\\s+from",
    "with\\s+\\S+\\s+as",
    "create\\s+(table|index|unique|type|role|database)",
    "alter\\s+table",
    "truncate",
    "merge\\s+into",
    "copy",
  ].join("|")})\\b`,
  "i",
);

/** Tells whether a template's text is a statement of SQL. */
export function looksLikeSql(text: string): boolean {
  return STATEMENT.test(text);
}

function namesIn(text: string, lineComment: "--" | "//", firstLine: number) {
  return blanked(text, lineComment)
    .split("\n")
    .flatMap((row, index) =>
      (row.match(/[A-Za-z_]\w*/g) ?? []).map((name) => ({ name, line: firstLine + index })),
    );
}

function partsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[_$\W]+/);
}
