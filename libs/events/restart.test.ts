import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import pino from "pino";
import { databaseNow } from "#libs/db";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import { OrderSettledSchema, OrdersFellDueSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { makeThrowAwayFolder } from "../../stack/folder.ts";
import { findFreePorts } from "../../stack/ports.ts";
import { planRabbitmq, type RabbitmqPart } from "../../stack/rabbitmq.ts";
import { createSupervisor, type Supervisor } from "../../stack/supervisor.ts";
import { rabbitmqSettings } from "../../stack/system.ts";
import { type Broker, connectBroker } from "./broker.ts";
import { createConsumer, on } from "./consumer.ts";
import type { Loop } from "./loop.ts";
import { nudgeToOutbox } from "./message.ts";
import { consumeNudges } from "./nudges.ts";
import { createOutboxRelay, type OutboxRelay } from "./relay.ts";
import { commit, outboxDepth, settledOrders, until } from "./scene.ts";

// A broker of its own, which these tests stop, kill and wipe one after the other.
const RESTART_DEADLINE_MS = 90_000;
const log = pino({ level: process.env["LOG_LEVEL"] ?? "silent" });
const received = new Map<string, number>();
const nudged: number[] = [];
let supervisor: Supervisor;
let rabbitmq: RabbitmqPart;
let database: TestDatabase;
let broker: Broker;
let relay: OutboxRelay;
let loops: Loop[] = [];

before(async () => {
  const folder = makeThrowAwayFolder("events");
  supervisor = await createSupervisor({ folder, throwAway: true, log: () => {} });
  const [amqp = 0, management = 0, distribution = 0, epmd = 0] = await findFreePorts(4);
  const ports = { postgres: 0, amqp, management, distribution, epmd };
  rabbitmq = await planRabbitmq({
    folder,
    ports,
    password: "throw-away",
    settings: rabbitmqSettings,
    log: () => {},
  });
  database = await createTestDatabase(join(import.meta.dirname, "migrations"));
  const { sql } = database;
  broker = connectBroker({ url: rabbitmq.amqpUrl, name: "restart", log });
  const handler = on(OrderSettledSchema, async ({ orderId }) => {
    received.set(orderId, (received.get(orderId) ?? 0) + 1);
  });
  relay = createOutboxRelay({ sql, broker, log });
  loops = [
    relay,
    createConsumer({ broker, log, queue: "holdfast.inventory.orders", handlers: [handler] }),
    consumeNudges({
      broker,
      log,
      queue: "holdfast.order.nudges",
      schema: OrdersFellDueSchema,
      now: () => databaseNow(sql),
      handle: async (_tenant, dueTime) => {
        nudged.push((await databaseNow(sql)).getTime() - dueTime.getTime());
      },
    }),
  ];
});

after(async () => {
  await Promise.all(loops.map((loop) => loop.stop()));
  await broker.stop();
  await Promise.all([database.drop(), supervisor.stop()]);
});

async function nudge(inMs: number): Promise<void> {
  const dueTime = new Date((await databaseNow(database.sql)).getTime() + inMs);
  const message = create(OrdersFellDueSchema);
  const nudge = nudgeToOutbox({
    schema: OrdersFellDueSchema,
    message,
    tenant: "demo",
    dueTime,
    destination: "holdfast.order.nudges",
  });
  await commit(database.sql, [nudge]);
  relay.publish([nudge]);
}

test("what is committed while there is no broker waits for it, and so does whoever consumes", async () => {
  await commit(database.sql, settledOrders(10, "early"));
  await until(() => broker.state() === "disconnected");
  await supervisor.start(rabbitmq.epmd);
  await supervisor.start(rabbitmq.broker);
  await until(() => broker.state() === "connected", undefined, RESTART_DEADLINE_MS);
  await until(
    () => received.size === 10,
    () => received.size,
  );
  await until(async () => (await outboxDepth(database.sql)) === 0);
});

test("a broker that is killed in the middle loses no event and no nudge, and nobody has to help", async (t) => {
  received.clear();
  nudged.length = 0;
  const total = 4_000;
  const step = 100;
  // RabbitMQ 3.10 forgets half of a quorum queue that was declared less than a second before a SIGKILL, and then never
  // answers a consumer of it: so the fault comes about three seconds after the first start.
  const killAt = 3_000;
  await nudge(9_000);
  let dead: Promise<void> | undefined;
  for (let sent = 0; sent < total; sent += step) {
    const messages = settledOrders(step, `step-${sent}`);
    await commit(database.sql, messages);
    relay.publish(messages);
    if (sent === killAt) dead = supervisor.process("rabbitmq").kill("SIGKILL");
    await pause(100);
  }
  await dead;
  await until(() => broker.state() === "disconnected");
  const receivedBefore = received.size;
  assert.ok(receivedBefore < total, "the fault came too late");
  const startedAtMs = performance.now();
  await supervisor.process("rabbitmq").ready();
  const readyAtMs = performance.now();
  await until(
    () => received.size === total,
    () => received.size,
    RESTART_DEADLINE_MS,
  );
  t.diagnostic(
    `${receivedBefore} of ${total} before; back after ${Math.round(readyAtMs - startedAtMs)} ms, ` +
      `all there ${Math.round(performance.now() - readyAtMs)} ms later; ` +
      `${[...received.values()].filter((times) => times > 1).length} came more than once`,
  );
  await until(async () => (await outboxDepth(database.sql)) === 0);
  await until(() => nudged.length > 0);
  assert.ok((nudged[0] ?? -1) >= 0);
});

test("a broker whose data is wiped gets its exchanges, queues and ladder again, and events flow on", async () => {
  received.clear();
  nudged.length = 0;
  await supervisor.process("rabbitmq").kill("SIGKILL");
  // Supervision starts it again in a moment; by then it knows nothing.
  rmSync(join(supervisor.folder, "rabbitmq", "data"), { recursive: true, force: true });
  await until(() => broker.state() === "disconnected");
  const messages = settledOrders(300, "wiped");
  await commit(database.sql, messages);
  relay.publish(messages);
  await until(() => broker.state() === "connected", undefined, RESTART_DEADLINE_MS);
  await nudge(2_500);
  await until(
    () => received.size === 300,
    () => received.size,
    RESTART_DEADLINE_MS,
  );
  await until(() => nudged.length > 0);
  await until(async () => (await outboxDepth(database.sql)) === 0);
});
