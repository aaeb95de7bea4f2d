import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import { inTransaction } from "#libs/db";
import {
  connectBroker,
  createOutboxRelay,
  insertOutbox,
  type OutboxMessage,
  type OutboxRelay,
  toOutbox,
} from "#libs/events";
import { createTestBroker, type TestBroker, testCall } from "#libs/testing";
import { OrderOutcomesMissedSchema } from "#proto/holdfast/inventory/v1/events_pb.ts";
import { createAnnouncer } from "./announcer.ts";
import { consumeMissedOutcomes } from "./events.ts";
import { eventually, letFallDue, settling } from "./testing/facts.ts";
import { createRequest, createScene, type Scene } from "./testing/scene.ts";

const log = pino({ level: "silent" });
let scene: Scene;
let host: TestBroker;
let broker: ReturnType<typeof connectBroker>;
let relay: OutboxRelay;
let consumer: ReturnType<typeof consumeMissedOutcomes>;
const told: OutboxMessage[] = [];

before(async () => {
  [scene, host] = await Promise.all([createScene(), createTestBroker()]);
  broker = connectBroker({ url: host.url, name: "test-order", log });
  relay = createOutboxRelay({ sql: scene.sql, broker, log, pollIntervalMs: 50 });
  const announcer = createAnnouncer((messages) => told.push(...messages));
  consumer = consumeMissedOutcomes({ sql: scene.sql, broker, announcer, log });
});
after(async () => {
  await consumer.stop();
  await relay.stop();
  await broker.stop();
  await Promise.all([scene.drop(), host.drop()]);
});

async function placed(): Promise<string> {
  const { order } = await scene.api.createOrder(createRequest(), testCall());
  return order?.orderId ?? "";
}

/** As Inventory asks: by an outbox and a relay. */
async function askAfter(...orderIds: string[]): Promise<void> {
  const awaited = orderIds.map((orderId) => ({ orderId, reservationId: orderId }));
  const message = create(OrderOutcomesMissedSchema, { awaited, late: true });
  const row = toOutbox(OrderOutcomesMissedSchema, message, { tenant: "demo", mandatory: true });
  await inTransaction(scene.sql, (tx) => insertOutbox(tx, [row]));
  relay.publish([row]);
}

it("the outcomes of orders that have ended are told again, and nothing of those that live", async () => {
  const [live, settled, cancelled, due, unknown] = [
    await placed(),
    await placed(),
    await placed(),
    await placed(),
    randomUUID(),
  ];
  const change = { request: undefined, correlationId: "" };
  await scene.changes.change("demo", { ...change, orderId: settled, intent: settling("pay") }, () => false);
  const cancel = { kind: "cancel", reason: "" } as const;
  await scene.changes.change("demo", { ...change, orderId: cancelled, intent: cancel }, () => false);
  await letFallDue(scene.sql, [due]);
  await scene.expiry.expireDue("demo");
  await askAfter(live, settled, cancelled, due, unknown);
  await eventually(async () => told.length > 0, "outcomes are told again");
  const types = told.map(({ type, mandatory }) => [type.replace("holdfast.order.v1.", ""), mandatory]);
  assert.deepEqual(types, [
    ["OrderSettled", true],
    ["OrderCancelled", true],
    ["OrderExpired", true],
    ["OrderAbandoned", true],
  ]);
  const ids = `{${told.map(({ outboxId }) => outboxId).join(",")}}`;
  const rows = await scene.sql`select 1 from outbox where outbox_id = any(${ids}::uuid[])`;
  assert.equal(rows.length, told.length, "they are in the outbox too");
});
