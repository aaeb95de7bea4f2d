import { randomUUID } from "node:crypto";
import type { Expect, Narrator } from "./narrator.ts";
import { stateName } from "./orders.ts";
import { expectStock, type Placed, place, readStock, type Shop, type Way } from "./shop.ts";

const BUYERS = 500;
const SKU = "jacket-peak-42-limited";
/**
 * Where parts are stopped meanwhile, orders may be given up and their units come back: these many turns are
 * enough.
 */
const TURNS_MAX = 5;

type Buyer = { readonly name: string; readonly way: Way };
type Outcome = { readonly buyer: Buyer; readonly placed: Placed };

/** Far more buyers than units want the same item at once; as many of them win as there are units. */
export async function rushForTheLast(shop: Shop, narrator: Narrator): Promise<void> {
  const { sku, name, quantity: units } = shop.item(SKU);
  const { expected } = shop;
  narrator.chapter(`The last ${units}: ${name}`);
  let outcomes: Outcome[] = [];
  await narrator.step(`${BUYERS} buyers want one, all at once`, async (expect) => {
    outcomes = await rush(shop, narrator, sku);
    const states = outcomes.flatMap(({ placed: { order } }) => (order ? [stateName(order.state)] : []));
    expect("orders that won", states.length, units);
    for (const state of states) expect("the state of a winner", state, "PENDING");
    for (const _ of states) expected.reserve([{ sku, quantity: 1 }]);
    return `${states.length} won`;
  });
  const refusals = outcomes.flatMap(({ placed: { reason } }) => (reason === undefined ? [] : [reason]));
  await narrator.step("The others are told why", async (expect) => {
    expect("buyers who did not win", refusals.length, BUYERS - units);
    for (const reason of refusals) expect("the reason", reason, "INSUFFICIENT_STOCK");
    return `${refusals.length} INSUFFICIENT_STOCK`;
  });
  await narrator.step("Not one unit is promised twice", async (expect) => {
    const { onHand, reserved } = (await expectStock(shop, expect, [{ sku }])).get(sku) ?? {};
    return `${reserved} of ${onHand} reserved`;
  });
  await narrator.step("The winners pay, all at once", async (expect) => {
    const winners = outcomes.flatMap(({ buyer, placed: { order } }) => (order ? [{ ...buyer, order }] : []));
    await Promise.all(winners.map(({ way, order }) => settle(shop, expect, way, order.orderId)));
    for (const _ of winners) expected.commit([{ sku, quantity: 1 }]);
    await expectStock(shop, expect, [{ sku }]);
    return `${winners.length} SETTLED`;
  });
}

/** Every buyer places an order at the same moment, every other one over JSON. */
async function rush(shop: Shop, narrator: Narrator, sku: string): Promise<Outcome[]> {
  const buyers = Array.from(
    { length: BUYERS },
    (_, index): Buyer => ({
      name: `buyer-${index + 1}`,
      way: index % 2 === 0 ? "gRPC" : "JSON",
    }),
  );
  const attempt = async (buyer: Buyer): Promise<Outcome> => {
    const draft = { customerId: buyer.name, lines: [{ sku, quantity: 1 }] };
    return { buyer, placed: await place(shop, buyer.way, draft) };
  };
  let outcomes = await Promise.all(buyers.map(attempt));
  for (let turn = 1; turn < TURNS_MAX && !shop.isOwnStack; turn += 1) {
    const free = (await readStock(shop)).get(sku)?.available ?? 0;
    if (free === 0) break;
    narrator.note(`${free} units came back from orders that were given up; who was refused tries again`);
    outcomes = await Promise.all(
      outcomes.map(async (was) => (was.placed.order ? was : await attempt(was.buyer))),
    );
  }
  return outcomes;
}

async function settle(shop: Shop, expect: Expect, way: Way, orderId: string): Promise<void> {
  const request = { orderId, paymentReference: `payment of ${orderId}`, requestId: randomUUID() };
  const { order } = await shop.over[way].orders.settleOrder(request);
  expect("the state of a winner who paid", stateName(order?.state), "SETTLED");
}
