import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { databaseNow } from "#libs/db";
import { OrderSettledSchema, OrdersFellDueSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { createConsumer, on } from "./consumer.ts";
import { type MessageMeta, nudgeToOutbox, toOutbox } from "./message.ts";
import { consumeNudges } from "./nudges.ts";
import { createOutboxRelay } from "./relay.ts";
import { commit, outboxDepth, setScene, until } from "./testing/scene.ts";

test("a committed event reaches its consumer with all it carries, and leaves the outbox", async (t) => {
  const { sql, broker, log, running } = await setScene(t);
  const seen: { orderId: string; meta: MessageMeta }[] = [];
  const consumer = createConsumer({
    broker,
    log,
    queue: "holdfast.inventory.orders",
    handlers: [
      on(OrderSettledSchema, async (event, meta) => {
        seen.push({ orderId: event.orderId, meta });
      }),
    ],
  });
  const relay = running(createOutboxRelay({ sql, broker, log }));
  running(consumer);
  await until(() => broker.state() === "connected");

  const message = toOutbox(OrderSettledSchema, create(OrderSettledSchema, { orderId: "o-1" }), {
    tenant: "demo",
    mandatory: true,
    correlationId: "request-1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  });
  await commit(sql, [message]);
  relay.publish([message]);

  await until(() => seen.length > 0);
  assert.equal(seen.length, 1);
  assert.equal(seen[0]?.orderId, "o-1");
  const meta = seen[0].meta;
  assert.deepEqual(
    { ...meta, time: undefined },
    {
      messageId: message.outboxId,
      type: "holdfast.order.v1.OrderSettled",
      tenant: "demo",
      time: undefined,
      correlationId: "request-1",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      retries: 0,
    },
  );
  assert.ok(meta.time && Math.abs(meta.time.getTime() - Date.now()) < 60_000);
  await until(async () => (await outboxDepth(sql)) === 0);
});

test("a nudge is handled at its time and not before", async (t) => {
  const { sql, broker, log, running } = await setScene(t);
  const handled: { tenant: string; dueTime: Date; lateMs: number }[] = [];
  const consumer = consumeNudges({
    broker,
    log,
    queue: "holdfast.order.nudges",
    schema: OrdersFellDueSchema,
    now: () => databaseNow(sql),
    handle: async (tenant, dueTime) => {
      handled.push({ tenant, dueTime, lateMs: (await databaseNow(sql)).getTime() - dueTime.getTime() });
    },
  });
  const relay = running(createOutboxRelay({ sql, broker, log }));
  running(consumer);
  await until(() => broker.state() === "connected");

  const now = (await databaseNow(sql)).getTime();
  const nudges = [-5_000, 300, 1_100, 2_600, 7_700].map((inMs) =>
    nudgeToOutbox({
      schema: OrdersFellDueSchema,
      message: create(OrdersFellDueSchema),
      tenant: `tenant-${inMs}`,
      dueTime: new Date(now + inMs),
      destination: "holdfast.order.nudges",
    }),
  );
  await commit(sql, nudges);
  relay.publish(nudges);

  await until(
    () => handled.length === nudges.length,
    () => handled,
  );
  for (const { tenant, lateMs } of handled) {
    assert.ok(lateMs >= 0, `${tenant} came ${-lateMs} ms early`);
    if (tenant !== "tenant--5000") assert.ok(lateMs < 1_000, `${tenant} came ${lateMs} ms late`);
  }
  t.diagnostic(`late by ${handled.map(({ tenant, lateMs }) => `${tenant}: ${lateMs} ms`).join(", ")}`);
  await until(async () => (await outboxDepth(sql)) === 0);
});
