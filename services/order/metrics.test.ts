import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import { CancelOrderRequestSchema } from "#proto/holdfast/order/v1/order_pb.ts";
import { letFallDue, rejectsWith } from "./testing/facts.ts";
import { createRequest, createScene, type Scene } from "./testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
});
after(async () => {
  await scene.drop();
});

async function placeOrder(): Promise<string> {
  const { order } = await scene.api.createOrder(createRequest(), testCall());
  return order?.orderId ?? "";
}

/** The value of a line of the metrics, 0 if it is not there. */
async function metricOf(name: string): Promise<number> {
  const lines = (await scene.registry.metrics()).split("\n");
  const line = lines.find((text) => text.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

/** By how much all orders that have expired were late, in seconds, as their rows say. */
async function lagInRows(): Promise<number> {
  const [row] = await scene.sql<{ seconds: number }[]>`
    select sum(extract(epoch from end_time - expire_time))::double precision as seconds
    from orders
    where state = 'EXPIRED'`;
  return row?.seconds ?? 0;
}

const lagOf = async () => ({
  count: await metricOf("expiry_lag_seconds_count"),
  sum: await metricOf("expiry_lag_seconds_sum"),
});

/** Longer than any test takes from the moment an order is made overdue. */
const PATIENCE_SECONDS = 20;

test("each expiry is counted by what triggered it and measured by how late it was, once", async () => {
  await placeOrder();
  const triggers = {
    nudge: { overdueSeconds: 30, expire: () => scene.expiry.expireDue("demo") },
    sweeper: { overdueSeconds: 300, expire: () => scene.expiry.sweep() },
    touch: {
      overdueSeconds: 3_000,
      expire: async (orderId: string) => {
        const cancel = create(CancelOrderRequestSchema, { orderId });
        await rejectsWith("ORDER_EXPIRED", scene.api.cancelOrder(cancel, testCall()));
      },
    },
  };
  let count = 0;
  for (const [trigger, { overdueSeconds, expire }] of Object.entries(triggers)) {
    const orderId = await placeOrder();
    await letFallDue(scene.sql, [orderId], overdueSeconds * 1_000);
    const lagBefore = await lagOf();
    // The second time nothing is left to expire.
    for (const _ of [1, 2]) await expire(orderId);
    count += 1;
    const lag = await lagOf();
    assert.equal(lag.count, count);
    const lateSeconds = lag.sum - lagBefore.sum;
    assert.ok(
      lateSeconds >= overdueSeconds && lateSeconds < overdueSeconds + PATIENCE_SECONDS,
      `expired by ${trigger}, ${lateSeconds} s late`,
    );
    assert.ok(Math.abs(lag.sum - (await lagInRows())) < 0.001, "and it is what the rows say");
    assert.equal(await metricOf(`expiries_total{trigger="${trigger}"}`), 1);
  }
});

test("orders that expire in one batch are measured one by one", async () => {
  const lagBefore = await lagOf();
  for (const overdueSeconds of [30, 60, 90]) {
    await letFallDue(scene.sql, [await placeOrder()], overdueSeconds * 1_000);
  }
  await scene.expiry.expireDue("demo");
  const lag = await lagOf();
  assert.equal(lag.count - lagBefore.count, 3);
  const lateSeconds = lag.sum - lagBefore.sum;
  assert.ok(lateSeconds >= 180 && lateSeconds < 180 + 3 * PATIENCE_SECONDS, `${lateSeconds} s in all`);
});
