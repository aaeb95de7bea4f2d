import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import { inTransaction } from "#libs/db";
import { OrderPlacedSchema, OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { createConsumer, on } from "./consumer.ts";
import { toOutbox } from "./message.ts";
import { createEventMetrics } from "./metrics.ts";
import { insertOutbox } from "./outbox.ts";
import { createOutboxRelay } from "./relay.ts";
import { commit, outboxDepth, type Scene, setScene, settledOrders, until } from "./testing/scene.ts";

const QUEUE = "holdfast.inventory.orders";

// Counts how often each order's event came.
function countArrivals(scene: Scene): Map<string, number> {
  const { broker, log, running } = scene;
  const times = new Map<string, number>();
  const handler = on(OrderSettledSchema, async ({ orderId }) => {
    times.set(orderId, (times.get(orderId) ?? 0) + 1);
  });
  running(createConsumer({ broker, log, queue: QUEUE, handlers: [handler] }));
  return times;
}

test("a mandatory event that no queue wants is kept, and delivered once the queue is there", async (t) => {
  const scene = await setScene(t);
  const { sql, broker, log, running } = scene;
  const metrics = createEventMetrics(new Registry());
  const relay = running(createOutboxRelay({ sql, broker, log, metrics }));
  await until(() => broker.state() === "connected");
  const messages = settledOrders(3);
  await commit(sql, messages);
  relay.publish(messages);
  await until(async () => (await returnedIn(metrics)) >= 3);
  assert.equal(await outboxDepth(sql), 3);

  const times = countArrivals(scene);
  await until(() => times.size === 3);
  await until(async () => (await outboxDepth(sql)) === 0);
});

async function returnedIn(metrics: ReturnType<typeof createEventMetrics>): Promise<number> {
  const { values } = await metrics.published.get();
  return values.find(({ labels }) => labels.outcome === "returned")?.value ?? 0;
}

test("an event for information only leaves the outbox though nobody listens", async (t) => {
  const { sql, broker, log, running } = await setScene(t);
  const relay = running(createOutboxRelay({ sql, broker, log }));
  await until(() => broker.state() === "connected");
  const message = toOutbox(OrderPlacedSchema, create(OrderPlacedSchema), {
    tenant: "demo",
    mandatory: false,
  });
  await commit(sql, [message]);
  relay.publish([message]);
  await until(async () => (await outboxDepth(sql)) === 0);
});

test("an event of a transaction that was rolled back is never sent", async (t) => {
  const scene = await setScene(t);
  const { sql, broker, log, running } = scene;
  const times = countArrivals(scene);
  const relay = running(createOutboxRelay({ sql, broker, log, pollIntervalMs: 50 }));
  await until(() => broker.state() === "connected");
  const [undone, done] = [settledOrders(1, "undone"), settledOrders(1, "done")];
  await assert.rejects(
    inTransaction(sql, async (tx) => {
      await insertOutbox(tx, undone);
      throw new Error("changed our mind");
    }),
    /changed our mind/,
  );
  await commit(sql, done);
  relay.wake();
  await until(() => times.size > 0);
  assert.deepEqual([...times.keys()], ["done-0"]);
});

test("relays side by side share the work: everything is sent, and nothing twice", async (t) => {
  const scene = await setScene(t);
  const { sql, broker, log, running } = scene;
  const times = countArrivals(scene);
  await until(() => broker.state() === "connected");
  await commit(sql, settledOrders(5_000));
  // As if their writers had died: due at once for whoever comes.
  await sql`update outbox set next_attempt_time = clock_timestamp()`;
  running(createOutboxRelay({ sql, broker, log }));
  running(createOutboxRelay({ sql, broker, log }));
  await until(
    () => times.size === 5_000,
    () => times.size,
  );
  await until(async () => (await outboxDepth(sql)) === 0);
  assert.ok([...times.values()].every((count) => count === 1));
});

test("a relay that is killed between the broker's confirm and its own delete loses nothing", async (t) => {
  const scene = await setScene(t);
  const { sql, broker, log, running, databaseUrl, url } = scene;
  const times = countArrivals(scene);
  await until(() => broker.state() === "connected");

  const child = fork(join(import.meta.dirname, "testing", "relay.fixture.ts"), [databaseUrl, url]);
  t.after(() => child.kill("SIGKILL"));
  await once(child, "message");
  // The lock keeps the other process from deleting what the broker will have confirmed.
  const locked = Promise.withResolvers<void>();
  const killed = Promise.withResolvers<void>();
  const holding = inTransaction(sql, async (tx) => {
    await tx`select 1 from outbox for no key update`;
    locked.resolve();
    await killed.promise;
  });
  await locked.promise;
  child.send("go");
  await until(() => times.size === 3);
  child.kill("SIGKILL");
  await once(child, "exit");
  // The server would carry out a statement that it has already, though nobody waits for it.
  await sql`
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where application_name = 'killed' and datname = current_database()`;
  killed.resolve();
  await holding;
  assert.equal(await outboxDepth(sql), 3);

  running(createOutboxRelay({ sql, broker, log, pollIntervalMs: 100 }));
  await until(async () => (await outboxDepth(sql)) === 0);
  await until(() => [...times.values()].every((count) => count >= 2));
  assert.equal(times.size, 3);
});
