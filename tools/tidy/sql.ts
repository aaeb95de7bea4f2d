/** Rules about the database: where SQL stands, what it may use, and migrations that stay as they were. */
import { createHash } from "node:crypto";
import { blanked, type Finding, isTest, type Rule, type SourceFile, serviceOf, type Tree } from "./source.ts";
import { looksLikeSql } from "./words.ts";

/** Lists every migration with its fingerprint, so that an edit shows. */
export const SEALS = "tools/migrations.sealed";

const MIGRATION = /^((?:services|libs)\/[^/]+)\/migrations\/(.+)$/;

type Statement = { file: SourceFile; text: string; line: number };

function statementsOf(file: SourceFile): Statement[] {
  if (file.path.endsWith(".sql")) return [{ file, text: file.text, line: 1 }];
  return file.tokens
    .filter((token, index) => token.kind === "template" && (looksLikeSql(token.text) || tagged(file, index)))
    .map(({ text, line }) => ({ file, text, line }));
}

// A fragment is SQL by its tag, also with a type between the two: sql<Row[]>`...`.
function tagged(file: SourceFile, index: number): boolean {
  let at = index - 1;
  if (file.tokens[at]?.text === ">") {
    let depth = 0;
    do {
      if (file.tokens[at]?.text === ">") depth += 1;
      if (file.tokens[at]?.text === "<") depth -= 1;
      at -= 1;
    } while (depth > 0 && at >= 0);
  }
  return /^(sql|tx)$/.test(file.tokens[at]?.text ?? "");
}

/** Whoever asks what a service does to its tables reads one room. */
export const sqlInTheStore: Rule = {
  name: "sql-in-the-store",
  check: (tree) =>
    tree
      .filter((file) => file.path.startsWith("services/") && file.path.endsWith(".ts") && !isTest(file.path))
      .filter((file) => !/^services\/[^/]+\/store(\.ts|\/)/.test(file.path))
      .flatMap(statementsOf)
      .map(({ file, line }) => ({ path: file.path, line, advice: "SQL stands in store.ts or store/" })),
};

// It alone locks by advice, so that two instances that start together do not both migrate.
const MIGRATES = "libs/db/migrate.ts";

const NOT_SHARDED: [RegExp, string][] = [
  [/\bcreate\s+(or\s+replace\s+)?(constraint\s+)?trigger\b/i, "no triggers"],
  [/\blanguage\s+'?plpgsql\b|\bdo\s+\$/i, "no PL/pgSQL"],
  [/\bpg_(try_)?advisory_/i, "no advisory locks"],
  [/^\s*(listen|notify)\s+\w|\bpg_notify\b/im, "no LISTEN and NOTIFY"],
  [/\b(big|small)?serial\b|\bas\s+identity\b/i, "no sequences; the application mints ids"],
];

/** Only what also runs on a sharded Postgres. */
export const plainSql: Rule = {
  name: "plain-sql",
  check: (tree) =>
    tree
      .filter((file) => /^(services|libs)\//.test(file.path) && !isTest(file.path))
      .filter((file) => file.path !== MIGRATES)
      .flatMap(statementsOf)
      .flatMap(({ file, text, line }) => {
        const code = blanked(text, "--");
        return NOT_SHARDED.flatMap(([pattern, advice]) => {
          const found = pattern.exec(code);
          return found ? [{ path: file.path, line: line + lineOf(code, found.index), advice }] : [];
        });
      }),
};

/** Statements read alike: keywords in lower case. */
export const lowerCaseSql: Rule = {
  name: "lower-case-sql",
  check: (tree) =>
    tree
      .filter((file) => /^(services|libs)\//.test(file.path) && !isTest(file.path))
      .flatMap(statementsOf)
      .flatMap(({ file, text, line }) => {
        const code = blanked(text, "--");
        const found = /\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|CREATE|ALTER|RETURNING|JOIN|VALUES)\b/.exec(
          code,
        );
        if (!found) return [];
        const at = line + lineOf(code, found.index);
        return [{ path: file.path, line: at, advice: `write ${found[0].toLowerCase()}` }];
      }),
};

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split("\n").length - 1;
}

/** A service's tables are its own: nobody else's statement names them. */
export const tablesAreTheirServices: Rule = {
  name: "tables-are-their-services",
  check: (tree) => {
    const owners = ownersOf(tree);
    return tree
      .filter((file) => serviceOf(file.path) !== undefined && !isTest(file.path))
      .flatMap(statementsOf)
      .flatMap(({ file, text, line }) => {
        const code = blanked(text, "--");
        return [...code.matchAll(/\b(?:from|join|into|update)\s+(\w+)/gi)].flatMap((match): Finding[] => {
          const owner = owners.get(match[1] ?? "");
          const own = owner === undefined || owner.has(serviceOf(file.path) ?? "");
          const advice = `${match[1]} belongs to ${[...(owner ?? [])].join(", ")}; ask by RPC or event`;
          return own ? [] : [{ path: file.path, line: line + lineOf(code, match.index), advice }];
        });
      });
  },
};

function ownersOf(tree: Tree): Map<string, Set<string>> {
  const owners = new Map<string, Set<string>>();
  for (const file of tree) {
    const service = serviceOf(file.path);
    if (service === undefined || !MIGRATION.test(file.path)) continue;
    for (const match of blanked(file.text, "--").matchAll(/create table (?:if not exists )?(\w+)/gi)) {
      const table = match[1] ?? "";
      owners.set(table, (owners.get(table) ?? new Set()).add(service));
    }
  }
  return owners;
}

/** Migrations are numbered from 1 without a gap, so that their order is never in doubt. */
export const migrationsInOrder: Rule = {
  name: "migrations-in-order",
  check: (tree) => {
    const seen = new Map<string, number>();
    return migrationsOf(tree).flatMap(({ path }): Finding[] => {
      const [, owner = "", name = ""] = MIGRATION.exec(path) ?? [];
      const expected = (seen.get(owner) ?? 0) + 1;
      seen.set(owner, expected);
      const found = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1];
      if (found !== undefined && Number(found) === expected) return [];
      const wanted = `${String(expected).padStart(4, "0")}_what_it_does.sql`;
      return [{ path, line: 1, advice: `the next migration of ${owner} is called ${wanted}` }];
    });
  },
};

/** A migration that ran somewhere is never edited: each is listed in SEALS and still as it was. */
export const migrationsAreSealed: Rule = {
  name: "migrations-are-sealed",
  check: (tree) => {
    const seals = sealsOf(tree);
    const now = new Map(migrationsOf(tree).map((file) => [file.path, fingerprint(file.text)]));
    const loose = [...now].flatMap(([path, print]): Finding[] => {
      const seal = seals.get(path);
      if (seal === undefined) return [{ path, line: 1, advice: "seal it: node tools/tidy.ts seal" }];
      return seal === print
        ? []
        : [{ path, line: 1, advice: "it was edited; write the next migration instead" }];
    });
    const gone = [...seals.keys()].filter((path) => !now.has(path));
    return [...loose, ...gone.map((path) => ({ path, line: 1, advice: "it was removed; migrations stay" }))];
  },
};

/** Returns the text of SEALS with the migrations that are new; what is sealed already stays as it is. */
export function withNewSeals(tree: Tree): string {
  const seals = sealsOf(tree);
  for (const file of migrationsOf(tree)) {
    if (!seals.has(file.path)) seals.set(file.path, fingerprint(file.text));
  }
  return [...seals]
    .sort(([left], [right]) => left.localeCompare(right))
    .map(([path, print]) => `${print}  ${path}\n`)
    .join("");
}

function sealsOf(tree: Tree): Map<string, string> {
  const text = tree.find((file) => file.path === SEALS)?.text ?? "";
  return new Map(
    [...text.matchAll(/^([0-9a-f]{64}) {2}(.+)$/gm)].map((match) => [match[2] ?? "", match[1] ?? ""]),
  );
}

function migrationsOf(tree: Tree): SourceFile[] {
  return tree
    .filter((file) => MIGRATION.test(file.path))
    .sort((left, right) => left.path.localeCompare(right.path));
}

function fingerprint(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
