import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes a folder for a stack whose data nobody needs afterwards. */
export function makeThrowAwayFolder(purpose: string): string {
  const folder = mkdtempSync(join(tmpdir(), `holdfast-${purpose}-`));
  // Others may pass through it to a folder of their own in it: the user that Postgres runs as has to.
  chmodSync(folder, 0o711);
  return folder;
}
