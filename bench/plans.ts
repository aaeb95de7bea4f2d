/**
 * `node stack/test.ts -- node bench/plans.ts [ROWS]` lays a million rows into each table of Inventory and
 * says how each of its statements is planned there; status 1 if one does not go by its index.
 */
import { judgePlans } from "../services/inventory/testing/plans.ts";

const DEFAULT_ROWS = 1_000_000;
const SHOWN_CHARACTERS = 100;

const rows = Number(process.argv[2] ?? DEFAULT_ROWS);
const startedAt = performance.now();
const judged = await judgePlans(rows);
let faulty = 0;
for (const [statement, faults] of judged) {
  if (faults.length > 0) faulty += 1;
  const text = statement.replaceAll(/\s+/g, " ").slice(0, SHOWN_CHARACTERS);
  console.log(`${faults.length === 0 ? "index" : `NOT BY ITS INDEX (${faults.join("; ")})`}  ${text}`);
}
const seconds = Math.round((performance.now() - startedAt) / 1_000);
console.log(`${judged.size} statements, ${rows} rows a table: ${faulty} not by their index (${seconds} s)`);
process.exitCode = faulty > 0 ? 1 : 0;
