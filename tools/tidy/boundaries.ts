/** Rules about who may know whom. */
import { posix } from "node:path";
import { importsOf, isTest, type Rule, type SourceFile, serviceOf, type Token, type Tree } from "./source.ts";

type Import = { file: SourceFile; specifier: string; line: number; target: string };

/** What an import reaches, as a path of the tree; packages and Node's own modules stay as they are. */
function targetOf(path: string, specifier: string): string {
  if (specifier.startsWith(".")) return posix.normalize(posix.join(posix.dirname(path), specifier));
  if (specifier.startsWith("#libs/")) return `libs/${specifier.slice("#libs/".length)}/index.ts`;
  if (specifier.startsWith("#proto/")) return `proto/gen/${specifier.slice("#proto/".length)}`;
  return specifier;
}

function importsWithin(tree: Tree, folder: RegExp): Import[] {
  return tree
    .filter((file) => folder.test(file.path))
    .flatMap((file) =>
      importsOf(file).map((found) => ({ file, ...found, target: targetOf(file.path, found.specifier) })),
    );
}

function findings(imports: Import[], advice: string) {
  return imports.map(({ file, line, specifier }) => ({
    path: file.path,
    line,
    advice: `"${specifier}": ${advice}`,
  }));
}

const TEST_PACKAGES = ["node:test", "node:assert/strict", "node:assert", "fast-check"];

/** domain/ can be read, tested and trusted alone: it knows itself and the table of reasons. */
export const domainKnowsItself: Rule = {
  name: "domain-knows-itself",
  check: (tree) => {
    const strangers = importsWithin(tree, /^services\/[^/]+\/domain\//).filter(({ file, target }) => {
      const own = target.startsWith(`services/${serviceOf(file.path)}/domain/`);
      const forTests =
        isTest(file.path) && (TEST_PACKAGES.includes(target) || target === "libs/testing/index.ts");
      return !own && !forTests && target !== "libs/reasons/index.ts";
    });
    return findings(strangers, "domain/ imports its own folder and #libs/reasons");
  },
};

const IMPURE = new Set(
  (
    "crypto process performance console globalThis fetch await async " +
    "setTimeout setInterval setImmediate queueMicrotask"
  ).split(" "),
);

/** domain/ gives the same answer to the same question: no clock, no chance, no waiting. */
export const domainIsPure: Rule = {
  name: "domain-is-pure",
  check: (tree) =>
    tree
      .filter((file) => /^services\/[^/]+\/domain\//.test(file.path) && !isTest(file.path))
      .flatMap((file) =>
        file.tokens
          .filter((_, index) => isImpure(file.tokens, index))
          .map(({ line, text }) => ({
            path: file.path,
            line,
            advice: `${text} is not for domain/; take its value as an argument`,
          })),
      ),
};

function isImpure(tokens: Token[], index: number): boolean {
  const [before, token, next, after] = [
    tokens[index - 1],
    tokens[index],
    tokens[index + 1],
    tokens[index + 2],
  ];
  if (token?.kind !== "word" || before?.text === "." || before?.text === "?.") return false;
  if (token.text === "Math") return after?.text === "random";
  if (token.text === "Date") {
    const asksTheClock = next?.text === "." && after?.text === "now";
    const ofNow = before?.text === "new" ? next?.text !== "(" || after?.text === ")" : next?.text === "(";
    return asksTheClock || ofNow;
  }
  return IMPURE.has(token.text) && next?.text !== ":";
}

/** A service knows another only by its contract. */
export const servicesKeepApart: Rule = {
  name: "services-keep-apart",
  check: (tree) => {
    const strangers = importsWithin(tree, /^services\//).filter(({ file, target }) => {
      const own = target.startsWith(`services/${serviceOf(file.path)}/`);
      const shared = /^(libs|proto\/gen)\//.test(target);
      return /\.(ts|json)$/.test(target) && target.includes("/") && !own && !shared;
    });
    return findings(strangers, "a service imports itself, #libs, #proto and packages");
  },
};

/** Libraries serve every service and know none, nor a service's contract. */
export const libsKnowNoService: Rule = {
  name: "libs-know-no-service",
  check: (tree) => {
    const strangers = importsWithin(tree, /^libs\//).filter(({ file, target }) => {
      const contract = /^proto\/gen\/holdfast\/(?!error\/)/.test(target);
      // A test may take any message as its example.
      return (
        /^(services|stack|demo|e2e|bench|gateway|tools)\//.test(target) || (contract && !isTest(file.path))
      );
    });
    return findings(strangers, "libs/ serve every service and know none");
  },
};

/** A library has one door, and the production code does not carry the tests' tools. */
export const librariesHaveOneDoor: Rule = {
  name: "libraries-have-one-door",
  check: (tree) => {
    const all = importsWithin(tree, /\.ts$/);
    const past = all.filter(({ file, specifier, target }) => {
      const library = /^libs\/[^/]+\//.exec(target)?.[0];
      return library !== undefined && specifier.startsWith(".") && !file.path.startsWith(library);
    });
    const testing = all.filter(
      ({ file, target }) => /^(services|libs)\//.test(file.path) && !isTest(file.path) && isTest(target),
    );
    return [
      ...findings(past, "come in by the door, #libs/<name>"),
      ...findings(testing, "what runs in production needs nothing of the tests"),
    ];
  },
};
