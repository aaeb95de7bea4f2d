import { randomUUID } from "node:crypto";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Order_State,
  Order_StateSchema,
  type OrderTransition,
} from "#proto/holdfast/order/v1/order_pb.ts";
import type { Line } from "./expectation.ts";
import type { Expect, Narrator } from "./narrator.ts";
import { eventually } from "./patience.ts";
import { expectStock, type OrderDraft, place, reasonOf, type Shop, type Way } from "./shop.ts";

/** An order of the story. */
export type Purchase = {
  readonly way: Way;
  /** The request that it came of. */
  readonly request: OrderDraft;
  readonly orderId: string;
  readonly lines: readonly Line[];
};

export type Purchases = { readonly ann: Purchase; readonly ben: Purchase; readonly cleo: Purchase };

const DAY_S = 86_400;
/** How long Cleo has to pay: long enough to tell what the others do meanwhile. */
const CLEOS_TTL_S = 4;
const REPETITIONS = 10;
/** What nudges expire is expired within this time after its own. */
const NUDGE_LAG_MAX_MS = 2_000;

/** Three customers place an order each; one of them sends it more than once. */
export async function placeOrders(shop: Shop, narrator: Narrator): Promise<Purchases> {
  narrator.chapter("Three orders");
  const ann = await buy(shop, narrator, "Ann orders a tent and 3 gas cartridges, over gRPC", {
    customer: "ann",
    way: "gRPC",
    wanted: { "tent-fern-2": 1, "gas-230": 3 },
    ttlSeconds: DAY_S,
  });
  const ben = await buy(shop, narrator, "Ben orders 6 enamel mugs, over JSON", {
    customer: "ben",
    way: "JSON",
    wanted: { "mug-enamel-blue": 6 },
    ttlSeconds: DAY_S,
  });
  await narrator.step(`Ben's app sends the same request ${REPETITIONS} times more`, async (expect) => {
    const again = () => shop.over[ben.way].orders.createOrder(ben.request);
    const answers = await Promise.all(Array.from({ length: REPETITIONS }, again));
    for (const { order } of answers) expect("the order in the answer", order?.orderId, ben.orderId);
    return "still 1 order";
  });
  await narrator.step("Another order under the same request id", async (expect) => {
    const other = { ...ben.request, customerId: "somebody else" };
    const reason = await refusal(() => shop.over.JSON.orders.createOrder(other));
    expect("the reason", reason, "REQUEST_ID_REUSED");
    return reason;
  });
  const cleo = await buy(shop, narrator, `Cleo orders boots, over gRPC, and has ${CLEOS_TTL_S} s to pay`, {
    customer: "cleo",
    way: "gRPC",
    wanted: { "boots-leather-42": 2 },
    ttlSeconds: CLEOS_TTL_S,
  });
  await narrator.step("The units of all three are reserved", async (expect) => {
    const lines = [...ann.lines, ...ben.lines];
    const stock = await expectStock(shop, expect, lines);
    // Where parts are stopped meanwhile, Cleo's time may be over before this was read.
    const { order } = await shop.over.gRPC.orders.getOrder({ orderId: cleo.orderId });
    const cleos = shop.isOwnStack || stateName(order?.state) === "PENDING" ? cleo.lines : [];
    for (const { sku, quantity } of cleos) expect(`${sku} reserved`, stock.get(sku)?.reserved, quantity);
    return `${[...lines, ...cleos].reduce((total, { quantity }) => total + quantity, 0)} units`;
  });
  return { ann, ben, cleo };
}

/** One pays, one cancels, and one lets the time run out. */
export async function endOrders(shop: Shop, narrator: Narrator, purchases: Purchases): Promise<void> {
  const { ann, ben, cleo } = purchases;
  const { expected } = shop;
  narrator.chapter("Three endings");
  await narrator.step("Ann pays, and her units leave the shelf", async (expect) => {
    const request = { orderId: ann.orderId, paymentReference: "card 4711", requestId: randomUUID() };
    const { order } = await shop.over.gRPC.orders.settleOrder(request);
    expect("the state", stateName(order?.state), "SETTLED");
    expected.commit(ann.lines);
    await expectStock(shop, expect, ann.lines);
    return "SETTLED";
  });
  await narrator.step("Ann can't cancel any more: her order is paid", async (expect) => {
    const request = { orderId: ann.orderId, requestId: randomUUID() };
    const reason = await refusal(() => shop.over.gRPC.orders.cancelOrder(request));
    expect("the reason", reason, "ORDER_SETTLED");
    return reason;
  });
  await narrator.step("Ben changes his mind, and his units are for sale again", async (expect) => {
    const request = { orderId: ben.orderId, reason: "changed my mind", requestId: randomUUID() };
    const { order } = await shop.over.JSON.orders.cancelOrder(request);
    expect("the state", stateName(order?.state), "CANCELLED");
    expected.release(ben.lines);
    await expectStock(shop, expect, ben.lines);
    return "CANCELLED";
  });
  await narrator.step("Cleo doesn't pay, and hers come back", (expect) => expectExpiry(shop, expect, cleo));
}

type Wish = {
  readonly customer: string;
  readonly way: Way;
  /** Units by sku. */
  readonly wanted: Readonly<Record<string, number>>;
  readonly ttlSeconds: number;
};

async function buy(shop: Shop, narrator: Narrator, text: string, wish: Wish): Promise<Purchase> {
  const { customer, way, wanted, ttlSeconds } = wish;
  const items = Object.entries(wanted).map(([sku, quantity]) => ({ ...shop.item(sku), quantity }));
  const lines = items.map(({ sku, quantity }) => ({ sku, quantity }));
  const total = items.reduce((sum, { quantity, unitAmount }) => sum + quantity * unitAmount, 0);
  const draft: OrderDraft = {
    customerId: customer,
    lines: items.map(({ sku, quantity, unitAmount }) => ({ sku, quantity, unitAmount: BigInt(unitAmount) })),
    currency: "EUR",
    ttl: { seconds: BigInt(ttlSeconds) },
  };
  let purchase: Purchase | undefined;
  await narrator.step(text, async (expect) => {
    const { order, request, reason } = await place(shop, way, draft);
    if (!order) throw new Error(`the order was refused: ${reason}`);
    purchase = { way, request, orderId: order.orderId, lines };
    expect("the state", stateName(order.state), "PENDING");
    expect("the total in cents", order.totalAmount, BigInt(total));
    expect("the time to pay in s", secondsBetween(order.updateTime, order.expireTime), ttlSeconds);
    shop.expected.reserve(lines);
    return `${(total / 100).toFixed(2)} EUR`;
  });
  if (!purchase) throw new Error("a step that ended well has an order");
  return purchase;
}

async function expectExpiry(shop: Shop, expect: Expect, { orderId, lines }: Purchase): Promise<string> {
  const { orders } = shop.over.gRPC;
  const read = async () => (await orders.listOrderHistory({ orderId })).history;
  const history = await eventually(read, (rows) => rows.length >= 3, shop.settlingMs);
  expect(
    "the states",
    history.map(({ toState }) => stateName(toState)),
    ["RESERVING", "PENDING", "EXPIRED"],
  );
  const last = history.at(-1);
  const { order } = await orders.getOrder({ orderId });
  expect("the state", stateName(order?.state), "EXPIRED");
  const lagMs =
    last?.createTime && order?.expireTime
      ? timestampMs(last.createTime) - timestampMs(order.expireTime)
      : NaN;
  expectPunctual(shop, expect, last, lagMs);
  shop.expected.release(lines);
  await expectStock(shop, expect, lines);
  return `EXPIRED by ${last?.actor}, ${(lagMs / 1000).toFixed(1)} s late`;
}

/**
 * The broker's nudge makes expiry punctual; where parts are stopped meanwhile, the sweeper may have to do
 * it.
 */
function expectPunctual(shop: Shop, expect: Expect, last: OrderTransition | undefined, lagMs: number): void {
  if (!shop.isOwnStack && last?.actor === "sweeper") return;
  expect("who expired it", last?.actor, "nudge");
  if (shop.isOwnStack) expect("it was in time", lagMs >= 0 && lagMs <= NUDGE_LAG_MAX_MS, true);
}

async function refusal(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
  } catch (error) {
    return reasonOf(error);
  }
  return "none: it was taken";
}

type Time = Parameters<typeof timestampMs>[0];

function secondsBetween(from: Time | undefined, to: Time | undefined): number {
  return from && to ? Math.round((timestampMs(to) - timestampMs(from)) / 1000) : NaN;
}

/** The name of a state in the contract. */
export function stateName(state: Order_State | undefined): string {
  return (state === undefined ? undefined : Order_StateSchema.value[state]?.name) ?? "none";
}
