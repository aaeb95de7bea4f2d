/**
 * Makes proto/gen from the protos: `node tools/generate.ts`. With `--check` it generates to a temporary
 * folder instead and fails if what is committed is not the same.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const GENERATED = join("proto", "gen");

/** Runs buf over the protos and writes below `folder` what buf.gen.yaml asks for. */
export function generateInto(folder: string): void {
  // buf finds its plugins on PATH; they come with the project.
  const path = `${join(ROOT, "node_modules", ".bin")}:${process.env["PATH"]}`;
  execFileSync("buf", ["generate", "--output", folder], {
    cwd: ROOT,
    env: { ...process.env, PATH: path },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

/** Returns what two folders differ in, one line a file; empty when they are the same. */
export function differences(fresh: string, committed: string): string[] {
  const [wanted, found] = [filesOf(fresh), filesOf(committed)];
  const missing = [...wanted.keys()].filter((path) => !found.has(path)).map((path) => `${path} is missing`);
  const extra = [...found.keys()].filter((path) => !wanted.has(path)).map((path) => `${path} is left over`);
  const stale = [...wanted]
    .filter(([path, text]) => found.has(path) && found.get(path) !== text)
    .map(([path]) => `${path} is stale`);
  return [...missing, ...extra, ...stale];
}

function filesOf(folder: string): Map<string, string> {
  if (!existsSync(folder)) return new Map();
  return new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path, "utf8")]),
  );
}

function main(): void {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-generate-"));
  try {
    generateInto(folder);
    const [fresh, committed] = [join(folder, GENERATED), join(ROOT, GENERATED)];
    const differing = differences(fresh, committed);
    for (const line of differing) console.log(join(GENERATED, line));
    if (differing.length === 0) return;
    if (process.argv.includes("--check")) {
      console.log("run `make generate` and commit what it writes");
      process.exitCode = 1;
      return;
    }
    rmSync(committed, { recursive: true, force: true });
    cpSync(fresh, committed, { recursive: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) main();
