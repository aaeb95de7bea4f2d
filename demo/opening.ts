import { randomUUID } from "node:crypto";
import type { Narrator } from "./narrator.ts";
import { expectStock, type Shop } from "./shop.ts";

/** Each item is made by a call of its own; this many at once. */
const MAKERS = 8;

/** Makes the items of the catalogue and receives their units. */
export async function openTheDoors(shop: Shop, narrator: Narrator): Promise<void> {
  const { catalogue, over, expected } = shop;
  narrator.chapter("The shop opens");
  await narrator.step("Every item of demo/catalogue.csv is made, over JSON", async (expect) => {
    const waiting = [...catalogue];
    const make = async () => {
      for (let item = waiting.shift(); item; item = waiting.shift()) {
        const { sku, name: displayName } = item;
        const made = await over.JSON.inventory.createItem({ sku, displayName, requestId: randomUUID() });
        expect(`the name of ${sku}`, made.item?.displayName, displayName);
      }
    };
    await Promise.all(Array.from({ length: MAKERS }, make));
    return `${catalogue.length} items`;
  });
  await narrator.step("Their units are received in one adjustment, over gRPC", async (expect) => {
    const changes = catalogue.map(({ sku, quantity }) => ({ sku, delta: quantity }));
    const request = { changes, reason: "opening", requestId: randomUUID() };
    const { movements } = await over.gRPC.inventory.adjustStock(request);
    expected.receive(catalogue);
    const units = catalogue.reduce((total, { quantity }) => total + quantity, 0);
    const received = movements.reduce((total, { onHandDelta }) => total + onHandDelta, 0);
    expect("units received", received, units);
    await expectStock(shop, expect, catalogue);
    return `${units.toLocaleString("en")} units`;
  });
}
