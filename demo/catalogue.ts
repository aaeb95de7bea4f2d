import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A row of the catalogue: an item, the units that the shop has of it, and its price in cents. */
export type CatalogueItem = {
  readonly sku: string;
  readonly name: string;
  readonly quantity: number;
  readonly unitAmount: number;
};

const COLUMNS = ["sku", "name", "quantity", "unit_amount"];
const CATALOGUE = join(import.meta.dirname, "catalogue.csv");

/** Reads the catalogue that ships with the demo. */
export function readCatalogue(): CatalogueItem[] {
  return parseCatalogue(readFileSync(CATALOGUE, "utf8"));
}

/** Reads a catalogue from CSV, and throws with the line's number where it makes no sense. */
export function parseCatalogue(text: string): CatalogueItem[] {
  const [header = "", ...lines] = text.trimEnd().split(/\r?\n/);
  if (header !== COLUMNS.join(",")) throw new Error(`line 1 must be: ${COLUMNS.join(",")}`);
  return lines.map((line, index) => {
    const [sku = "", name = "", quantity, unitAmount, ...rest] = parseLine(line);
    const numbers = [Number(quantity), Number(unitAmount)];
    const isSound = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(sku) && name !== "" && rest.length === 0;
    if (!isSound || !numbers.every((number) => Number.isInteger(number) && number > 0)) {
      throw new Error(`line ${index + 2} is not a sku, a name, units and cents: ${line}`);
    }
    return { sku, name, quantity: Number(quantity), unitAmount: Number(unitAmount) };
  });
}

/** The fields of one line: each either plain, or in quotation marks with those inside it doubled. */
function parseLine(line: string): string[] {
  const fields = line.match(/("([^"]|"")*"|[^,]*)(,|$)/g) ?? [];
  // After the last field the pattern finds the empty text at the end of the line once more.
  const found = line.endsWith(",") ? fields : fields.slice(0, -1);
  return found.map((field) => {
    const text = field.endsWith(",") ? field.slice(0, -1) : field;
    return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
  });
}
