/**
 * The house rules that a program can check (CONTRIBUTING.md). `node tools/tidy.ts` prints what it finds;
 * `node tools/tidy.ts seal` lists new migrations, after which they may not change.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as boundaries from "./tidy/boundaries.ts";
import * as functions from "./tidy/functions.ts";
import * as language from "./tidy/language.ts";
import * as layout from "./tidy/layout.ts";
import { type Finding, type Rule, sourceFile, type Tree } from "./tidy/source.ts";
import * as sql from "./tidy/sql.ts";
import * as words from "./tidy/words.ts";

/** Every rule; tidy.test.ts plants a violation of each. */
export const rules: Rule[] = [
  layout.fileLength,
  layout.lineLength,
  functions.functionLength,
  layout.fileNames,
  layout.serviceRooms,
  layout.nothingLeftToDo,
  layout.noMachinePaths,
  language.explicitImports,
  language.noDoubleAssertion,
  language.erasableSyntax,
  language.noInheritance,
  language.documentedExports,
  language.reasonedSuppressions,
  language.testsDoNotSleep,
  boundaries.domainKnowsItself,
  boundaries.domainIsPure,
  boundaries.servicesKeepApart,
  boundaries.libsKnowNoService,
  boundaries.librariesHaveOneDoor,
  words.wordsOfTheDesign,
  words.tenantIsTheCallers,
  sql.sqlInTheStore,
  sql.plainSql,
  sql.lowerCaseSql,
  sql.tablesAreTheirServices,
  sql.migrationsInOrder,
  sql.migrationsAreSealed,
];

/** The folder of the project. */
export const ROOT = join(import.meta.dirname, "..");
const JUDGED = /\.(ts|sql|proto|md|json|ya?ml|sh|sealed)$|(^|\/)(Makefile|Dockerfile|run)$/;
const NOT_OURS = /^(proto\/gen|third_party)\/|^package-lock\.json$/;

/** Reads what git knows or would add: written here, neither generated nor a third party's. */
export function readTree(): Tree {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  return listed
    .split("\n")
    .filter((path) => JUDGED.test(path) && !NOT_OURS.test(path) && existsSync(join(ROOT, path)))
    .map((path) => sourceFile(path, readFileSync(join(ROOT, path), "utf8")));
}

/** Returns what breaks any of the rules, one line each, with where it is and what to do. */
export function findingsOf(tree: Tree): string[] {
  const line = (rule: Rule) => (found: Finding) =>
    `${found.path}:${found.line} ${found.advice} (${rule.name})`;
  return rules.flatMap((rule) => rule.check(tree).map(line(rule)));
}

if (import.meta.main) {
  if (process.argv[2] === "seal") writeFileSync(join(ROOT, sql.SEALS), sql.withNewSeals(readTree()));
  const findings = findingsOf(readTree());
  for (const finding of findings) console.error(finding);
  process.exitCode = findings.length > 0 ? 1 : 0;
}
