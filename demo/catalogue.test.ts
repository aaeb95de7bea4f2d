import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCatalogue, readCatalogue } from "./catalogue.ts";

const header = "sku,name,quantity,unit_amount\n";

test("the catalogue has at least 50 items, each with a sku of its own", () => {
  const catalogue = readCatalogue();
  assert(catalogue.length >= 50);
  assert.equal(new Set(catalogue.map(({ sku }) => sku)).size, catalogue.length);
});

test("a name may have commas and quotation marks", () => {
  assert.deepEqual(parseCatalogue(`${header}tent-2,"Tent, ""two"" persons",4,28900\n`), [
    { sku: "tent-2", name: 'Tent, "two" persons', quantity: 4, unitAmount: 28_900 },
  ]);
});

test("a line that makes no sense is told by its number", () => {
  const good = "mug,Mug,1,1190";
  for (const bad of [
    "",
    "mug",
    "mug,Mug,1",
    "mug,Mug,1,1190,",
    "mug,,1,1190",
    "a b,Mug,1,1190",
    "mug,Mug,0,1190",
    "mug,Mug,1,11.9",
  ]) {
    assert.throws(() => parseCatalogue(`${header}${good}\n${bad}\n${good}`), /^Error: line 3 /, bad);
  }
  assert.throws(() => parseCatalogue("sku;name\n"), /line 1 must be/);
});
