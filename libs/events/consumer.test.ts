import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create, createRegistry, toBinary } from "@bufbuild/protobuf";
import { connect } from "amqplib";
import { DomainError } from "#libs/reasons";
import { file_holdfast_order_v1_events, OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { createConsumer, type EventHandler, on } from "./consumer.ts";
import { ImpossibleMessage } from "./impossible.ts";
import { LOST_QUEUE, openDeadLetters } from "./index.ts";
import type { MessageMeta } from "./message.ts";
import { createPublisher } from "./publisher.ts";
import { createOutboxRelay } from "./relay.ts";
import { commit, deleteQueue, type Scene, sendRaw, setScene, settledOrders, until } from "./testing/scene.ts";
import { EVENTS_EXCHANGE } from "./topology.ts";

const QUEUE = "holdfast.inventory.orders";
const SETTLED = "holdfast.order.v1.OrderSettled";

type Seen = { readonly orderId: string; readonly meta: MessageMeta; readonly atMs: number };

// Notes each event that comes, and then does what the test wants.
function noting(
  seen: Seen[],
  then: (orderId: string, meta: MessageMeta) => Promise<void> = async () => {},
): EventHandler {
  return on(OrderSettledSchema, async (event, meta) => {
    seen.push({ orderId: event.orderId, meta, atMs: performance.now() });
    await then(event.orderId, meta);
  });
}

function consume(
  scene: Scene,
  handler: EventHandler,
  options: { prefetch?: number; drainTimeoutMs?: number; onQueueMade?: () => void } = {},
) {
  const { broker, log, running } = scene;
  return running(createConsumer({ broker, log, queue: QUEUE, handlers: [handler], ...options }));
}

async function isReady(scene: Scene): Promise<void> {
  await until(() => scene.broker.state() === "connected");
}

function bodyOf(orderId: string): Uint8Array {
  return toBinary(OrderSettledSchema, create(OrderSettledSchema, { orderId }));
}

async function deadLettersOf(scene: Scene) {
  const registry = createRegistry(file_holdfast_order_v1_events);
  const deadLetters = await openDeadLetters({ url: scene.url, registry });
  scene.running({ stop: () => deadLetters.close() });
  return deadLetters;
}

test("events that come twice and out of order reach the handler, with an id to know them by", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  consume(scene, noting(seen));
  await isReady(scene);
  for (const orderId of ["third", "first", "second", "first"]) {
    await sendRaw(scene.url, EVENTS_EXCHANGE, SETTLED, bodyOf(orderId), {
      type: SETTLED,
      messageId: `id-of-${orderId}`,
      headers: { tenant: "demo" },
    });
  }
  await until(() => seen.length === 4);
  assert.deepEqual(
    seen.map(({ orderId, meta }) => [orderId, meta.messageId]),
    ["third", "first", "second", "first"].map((orderId) => [orderId, `id-of-${orderId}`]),
  );
});

test("a queue that was not there is told of, and one that was is not", async (t) => {
  const scene = await setScene(t);
  let made = 0;
  const onQueueMade = () => {
    made += 1;
  };
  const first = consume(scene, noting([]), { onQueueMade });
  await until(() => made === 1);
  await first.stop();
  consume(scene, noting([]), { onQueueMade });
  await isReady(scene);
  assert.equal(made, 1);
  await deleteQueue(scene.url, QUEUE);
  await until(() => made === 2);
});

test("what cannot be handled is put aside with its reason and blocks nothing behind it", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  consume(
    scene,
    noting(seen, async (orderId) => {
      if (orderId === "refused")
        throw new ImpossibleMessage("RESERVATION_RELEASED", "it was given back before");
    }),
    { prefetch: 1 },
  );
  await isReady(scene);
  const poison: [Uint8Array, string, Record<string, string>][] = [
    [Buffer.from([0xff, 0xff, 0xff]), SETTLED, { tenant: "demo" }],
    [bodyOf("unknown"), "holdfast.order.v1.OrderForgotten", { tenant: "demo" }],
    [bodyOf("nobody's"), SETTLED, {}],
    [bodyOf("refused"), SETTLED, { tenant: "demo" }],
  ];
  for (const [index, [body, type, headers]] of poison.entries()) {
    await sendRaw(scene.url, "", QUEUE, body, { type, headers, messageId: `poison-${index}` });
  }
  await sendRaw(scene.url, "", QUEUE, bodyOf("good"), { type: SETTLED, headers: { tenant: "demo" } });
  await until(() => seen.some(({ orderId }) => orderId === "good"));

  const deadLetters = await deadLettersOf(scene);
  await until(async () => (await deadLetters.count(QUEUE)) === poison.length);
  const letters = await deadLetters.list(QUEUE);
  assert.deepEqual(
    letters.map(({ messageId, reason, queue }) => [messageId, reason, queue]),
    [
      ["poison-0", "UNDECODABLE", QUEUE],
      ["poison-1", "UNKNOWN_TYPE", QUEUE],
      ["poison-2", "TENANT_MISSING", QUEUE],
      ["poison-3", "RESERVATION_RELEASED", QUEUE],
    ],
  );
  const refused = await deadLetters.show(QUEUE, "poison-3");
  assert.deepEqual(refused?.body, { orderId: "refused" });
  assert.equal(refused?.detail, "it was given back before");
  assert.equal(refused?.tenant, "demo");
  assert.ok(refused?.deadTime && Math.abs(refused.deadTime.getTime() - Date.now()) < 60_000);
  assert.equal((await deadLetters.show(QUEUE, "poison-0"))?.body, undefined);
  assert.equal(await deadLetters.show(QUEUE, "never-sent"), undefined);

  assert.equal((await deadLetters.drop(QUEUE, "poison-0"))?.messageId, "poison-0");
  assert.equal(await deadLetters.drop(QUEUE, "poison-0"), undefined);
  assert.equal(await deadLetters.count(QUEUE), poison.length - 1);
});

test("a failure is tried again after a pause, and put aside once the retries are used up", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  let failing = true;
  consume(
    scene,
    noting(seen, async (orderId, meta) => {
      if (orderId === "unlucky" && meta.retries === 0) throw new Error("a passing fault");
      if (orderId === "stubborn" && failing) throw new Error("a lasting fault");
    }),
  );
  await isReady(scene);
  const properties = { type: SETTLED, messageId: "the-id", correlationId: "request-1" };
  await sendRaw(scene.url, "", QUEUE, bodyOf("unlucky"), { ...properties, headers: { tenant: "demo" } });
  await until(() => seen.length === 2);
  const [first, second] = seen;
  assert.deepEqual({ ...second?.meta, retries: 0 }, first?.meta);
  assert.equal(second?.meta.retries, 1);
  const pauseMs = (second?.atMs ?? 0) - (first?.atMs ?? 0);
  assert.ok(pauseMs >= 990 && pauseMs < 3_000, `it came again after ${pauseMs} ms`);

  // The last of its retries fails too.
  await sendRaw(scene.url, "", QUEUE, bodyOf("stubborn"), {
    ...properties,
    headers: { tenant: "demo", retries: 10 },
  });
  const deadLetters = await deadLettersOf(scene);
  await until(async () => (await deadLetters.count(QUEUE)) === 1);
  const [letter] = await deadLetters.list(QUEUE);
  assert.equal(letter?.reason, "RETRIES_USED_UP");
  assert.equal(letter?.detail, "a lasting fault");

  failing = false;
  seen.length = 0;
  assert.equal(await deadLetters.replay(QUEUE, "the-id"), true);
  assert.equal(await deadLetters.replay(QUEUE, "the-id"), false);
  await until(() => seen.length === 1);
  assert.deepEqual({ ...seen[0]?.meta, time: undefined }, { ...first?.meta, time: undefined });
  assert.equal(await deadLetters.count(QUEUE), 0);
});

test("all dead letters are replayed once, also those that die again", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  consume(
    scene,
    noting(seen, async () => {
      throw new ImpossibleMessage("STILL_IMPOSSIBLE", "as before");
    }),
  );
  await isReady(scene);
  for (let index = 0; index < 5; index += 1) {
    await sendRaw(scene.url, "", QUEUE, bodyOf(`${index}`), { type: SETTLED, headers: { tenant: "demo" } });
  }
  const deadLetters = await deadLettersOf(scene);
  await until(async () => (await deadLetters.count(QUEUE)) === 5);
  assert.deepEqual(await deadLetters.replayAll(QUEUE), { replayed: 5, kept: 0 });
  await until(async () => seen.length === 10 && (await deadLetters.count(QUEUE)) === 5);
  assert.equal(await deadLetters.count("holdfast.never.made"), 0);
});

test("while a dependency is away, or rows are locked, messages wait without being counted", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  let away = true;
  consume(
    scene,
    noting(seen, async (orderId) => {
      if (!away) return;
      if (orderId === "away") throw new DomainError("DEPENDENCY_UNAVAILABLE", "no answer");
      await scene.sql.begin(async (tx) => {
        await tx`set local statement_timeout = 50`;
        await tx`select pg_sleep(10)`;
      });
    }),
  );
  await isReady(scene);
  for (const orderId of ["away", "locked"])
    await sendRaw(scene.url, "", QUEUE, bodyOf(orderId), { type: SETTLED, headers: { tenant: "demo" } });
  await until(() => seen.length === 2);
  await pause(200);
  away = false;
  await until(() => seen.length === 4);
  assert.deepEqual(
    seen.slice(2).map(({ meta }) => meta.retries),
    [0, 0],
  );
});

test("as many events as the prefetch allows are handled side by side", async (t) => {
  const scene = await setScene(t);
  const { sql, broker, log, running } = scene;
  let atOnce = 0;
  let most = 0;
  let handled = 0;
  consume(
    scene,
    on(OrderSettledSchema, async () => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await until(() => most >= 64);
      atOnce -= 1;
      handled += 1;
    }),
    { prefetch: 64 },
  );
  const relay = running(createOutboxRelay({ sql, broker, log }));
  await isReady(scene);
  const messages = settledOrders(200);
  await commit(sql, messages);
  relay.publish(messages);
  await until(() => handled === 200);
  assert.equal(most, 64);
});

test("a stop lets the handlers finish, and what they did not finish in time goes back", async (t) => {
  const scene = await setScene(t);
  const started = Promise.withResolvers<void>();
  const slow = Promise.withResolvers<void>();
  const seen: Seen[] = [];
  const consumer = consume(
    scene,
    noting(seen, async (orderId) => {
      if (orderId !== "slow") return;
      started.resolve();
      await slow.promise;
    }),
    { drainTimeoutMs: 200 },
  );
  await isReady(scene);
  await sendRaw(scene.url, "", QUEUE, bodyOf("quick"), { type: SETTLED, headers: { tenant: "demo" } });
  await sendRaw(scene.url, "", QUEUE, bodyOf("slow"), { type: SETTLED, headers: { tenant: "demo" } });
  await started.promise;
  await Promise.all([consumer.stop(), consumer.stop()]);

  const seenLater: Seen[] = [];
  consume(scene, noting(seenLater));
  await until(() => seenLater.length === 1);
  slow.resolve();
  assert.deepEqual(
    seenLater.map(({ orderId }) => orderId),
    ["slow"],
  );
});

test("a consumer whose queue is deleted makes it again and goes on", async (t) => {
  const scene = await setScene(t);
  const seen: Seen[] = [];
  consume(scene, noting(seen));
  await isReady(scene);
  await deleteQueue(scene.url, QUEUE);
  const { sql, broker, log, running } = scene;
  running(createOutboxRelay({ sql, broker, log }));
  await commit(sql, settledOrders(1));
  await until(() => seen.length === 1);
});

test("a message whose consumer dies again and again is put aside by the broker itself", async (t) => {
  const scene = await setScene(t);
  const consumer = consume(scene, noting([]));
  await isReady(scene);
  await consumer.stop();
  await sendRaw(scene.url, "", QUEUE, bodyOf("deadly"), { type: SETTLED, messageId: "deadly" });
  const connection = await connect(scene.url);
  const channel = await connection.createChannel();
  for (let died = 0; died <= 10; died += 1) {
    await until(async () => {
      const message = await channel.get(QUEUE);
      if (message) channel.reject(message, true);
      return message !== false;
    });
  }
  await connection.close();
  const deadLetters = await deadLettersOf(scene);
  await until(async () => (await deadLetters.count(QUEUE)) === 1);
  const [letter] = await deadLetters.list(QUEUE);
  assert.equal(letter?.reason, "DELIVERY_LIMIT");
  assert.equal(letter?.queue, QUEUE);
  assert.ok(letter?.deadTime instanceof Date);
});

test("what wakes up for a queue that is gone is listed as lost, and replayed when it is back", async (t) => {
  const scene = await setScene(t);
  const { running, broker } = scene;
  const publisher = running(createPublisher({ broker, name: "stray" }));
  await until(() => publisher.isReady());
  const headers = { tenant: "demo" };
  for (const [queue, messageId] of [
    ["gone.for.good", "other"],
    [QUEUE, "stray"],
  ] as const) {
    const body = bodyOf(messageId);
    await sendRaw(scene.url, "holdfast.delay.1s", queue, body, { type: SETTLED, messageId, headers });
  }
  const deadLetters = await deadLettersOf(scene);
  await until(async () => (await deadLetters.count(LOST_QUEUE)) === 2);
  const [, letter] = await deadLetters.list(LOST_QUEUE);
  assert.equal(letter?.queue, QUEUE);
  assert.equal(letter?.reason, "EXPIRED");
  await assert.rejects(deadLetters.replay(LOST_QUEUE, "stray"), /holdfast.inventory.orders does not exist/);

  const seen: Seen[] = [];
  consume(scene, noting(seen));
  await isReady(scene);
  assert.deepEqual(await deadLetters.replayAll(LOST_QUEUE), { replayed: 1, kept: 1 });
  await until(() => seen.length === 1);
  assert.equal(await deadLetters.count(LOST_QUEUE), 1);
});
