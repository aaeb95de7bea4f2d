import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

/** The repository, or a copy of its files in which something is wrong, to see that the checks see it. */
const ROOT = process.env["CHECKED_FOLDER"] ?? join(import.meta.dirname, "..");

/** One service of compose.yaml, as far as the checks look at it. */
export type ComposeService = {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly build?: { readonly target: string };
  readonly restart?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly mem_limit?: string;
  readonly logging?: { readonly options?: Readonly<Record<string, string>> };
  readonly networks?: readonly string[];
};

export type Composition = { readonly services: Readonly<Record<string, ComposeService>> };

/** A file of the repository. */
export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** compose.yaml with its anchors laid in, and its variables as they stand or at their standards. */
export function readComposition(text: string, variables: "as they stand" | "at standards"): Composition {
  const document: unknown = parse(text, { merge: true });
  const whole = variables === "at standards" ? atStandards(document) : document;
  if (!isComposition(whole)) throw new Error("compose.yaml has no services");
  return whole;
}

function isComposition(value: unknown): value is Composition {
  return typeof value === "object" && value !== null && "services" in value;
}

/** The names in `${NAME}`, `${NAME:-standard}` and `${NAME:?message}`, with the standards that there are. */
export function variablesIn(text: string): Map<string, string | undefined> {
  const found = [...text.matchAll(/\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)?\}/g)];
  return new Map(found.map(([, name = "", standard]) => [name, standard]));
}

/** The document with each variable at its standard, some password where there is none. */
function atStandards(document: unknown): unknown {
  const text = JSON.stringify(document).replaceAll(
    /\$\{[A-Z_]+(?::-([^}]*)|:\?[^}]*)?\}/g,
    (_, standard?: string) => standard ?? "0a1b",
  );
  const whole: unknown = JSON.parse(text);
  return whole;
}

/** What the ENV lines of one stage of a Dockerfile set. */
export function environmentOfStage(dockerfile: string, stage: string): Record<string, string> {
  const [, text = ""] = dockerfile.split(new RegExp(`^FROM \\S+ AS ${stage}$`, "m"));
  const [own = ""] = text.split(/^FROM /m);
  const lines = own.split("\n").filter((line) => line.startsWith("ENV "));
  return Object.fromEntries(lines.flatMap((line) => line.slice(4).split(" ").map(pairOf)));
}

/** The settings of a file of `name = value` lines, without their quotation marks. */
export function settingsIn(text: string): Map<string, string> {
  const lines = text.split("\n").filter((line) => /^[\w.]+ *=/.test(line));
  return new Map(lines.map(pairOf).map(([name, value]) => [name, value.replace(/^'(.*)'$/, "$1")]));
}

/** The lines of an .env file that set something. */
export function environmentIn(text: string): Map<string, string> {
  return new Map(
    text
      .split("\n")
      .filter((line) => /^[A-Z_]+=/.test(line))
      .map(pairOf),
  );
}

function pairOf(text: string): [string, string] {
  const at = text.indexOf("=");
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
