import type { Counters } from "./expectation.ts";
import type { Narrator } from "./narrator.ts";
import { expectStock, type Shop } from "./shop.ts";

/** Has every counter recomputed from the ledger, and shows the shop before and after. */
export async function audit(shop: Shop, narrator: Narrator): Promise<void> {
  const { catalogue, over, expected, troubles } = shop;
  const skus = catalogue.map(({ sku }) => sku);
  narrator.chapter("The audit");
  let stock: ReadonlyMap<string, Counters> = new Map();
  await narrator.step("Every counter is as computed beforehand", async (expect) => {
    stock = await expectStock(shop, expect, catalogue);
    return `${3 * skus.length} counters`;
  });
  await narrator.step("The ledger has one row for each change, and no other", async (expect) => {
    const rows = (of: (sku: string) => Counters | undefined) =>
      skus.reduce((total, sku) => total + (of(sku)?.movements ?? 0), 0);
    const actual = rows((sku) => stock.get(sku));
    // An order that was given up has left its own rows, how many depends on where it was cut off.
    if (troubles.abandoned === 0) expect("rows", actual, rows(expected.of));
    return `${actual} rows`;
  });
  await narrator.step("VerifyStock recomputes every counter from the ledger", async (expect) => {
    const answer = await over.JSON.inventory.verifyStock({ skus });
    expect(
      "the differences",
      answer.differences.map(({ sku, expected: want, actual }) => [sku, want, actual]),
      [],
    );
    expect("consistent", answer.consistent, true);
    expect("levels checked", answer.levelsChecked, catalogue.length);
    return answer.consistent ? "all agree" : `${answer.differences.length} differ`;
  });
  showTable(shop, narrator, stock);
}

/** Before everything was on hand and nothing reserved; the items that nobody touched share a row. */
function showTable(shop: Shop, narrator: Narrator, stock: ReadonlyMap<string, Counters>): void {
  const rows = shop.catalogue.map(({ sku, name, quantity }) => {
    const { onHand = 0, reserved = 0, available = 0, movements = 0 } = stock.get(sku) ?? {};
    return {
      name,
      isTouched: movements > 1,
      numbers: [quantity, quantity - onHand, onHand, reserved, available],
    };
  });
  const touched = rows.filter(({ isTouched }) => isTouched);
  const others = rows.filter(({ isTouched }) => !isTouched);
  const sum = (some: typeof rows) =>
    [0, 1, 2, 3, 4].map((column) => some.reduce((total, { numbers }) => total + (numbers[column] ?? 0), 0));
  const cells = (name: string, numbers: readonly number[]) => [
    name,
    ...numbers.map((n) => n.toLocaleString("en")),
  ];
  narrator.table(
    ["", "before", "sold", "on hand", "reserved", "available"],
    [
      ...touched.map(({ name, numbers }) => cells(name, numbers)),
      cells(`${others.length} other items`, sum(others)),
      cells("All", sum(rows)),
    ],
  );
}
