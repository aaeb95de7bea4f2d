import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create, createRegistry, toBinary } from "@bufbuild/protobuf";
import { connect } from "amqplib";
import { pino } from "pino";
import type { Loop } from "#libs/boot";
import { uuidv7 } from "#libs/db";
import {
  type Broker,
  connectBroker,
  createConsumer,
  type DeadLetters,
  ImpossibleMessage,
  on,
  openDeadLetters,
} from "#libs/events";
import { createTestBroker, type TestBroker } from "#libs/testing";
import { file_holdfast_order_v1_events, OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { OUTCOMES_QUEUE } from "../queues.ts";
import { runDeadLetters } from "./commands.ts";

const log = pino({ level: "silent" });
const handled: string[] = [];
let isHealed = false;
let testBroker: TestBroker;
let broker: Broker;
let consumer: Loop;
let letters: DeadLetters;
let folder: string;

before(async () => {
  testBroker = await createTestBroker();
  broker = connectBroker({ url: testBroker.url, name: "test", log });
  const handler = on(OrderSettledSchema, async ({ orderId }) => {
    if (!isHealed && orderId.startsWith("poison"))
      throw new ImpossibleMessage("RESERVATION_RELEASED", "too late");
    handled.push(orderId);
  });
  consumer = createConsumer({ broker, log, queue: OUTCOMES_QUEUE, handlers: [handler] });
  const registry = createRegistry(file_holdfast_order_v1_events);
  letters = await openDeadLetters({ url: testBroker.url, registry });
  folder = mkdtempSync(join(tmpdir(), "holdfast-dead-letters-"));
  await until("the consumer works", () => broker.state() === "connected");
});

after(async () => {
  await letters.close();
  await consumer.stop();
  await broker.stop();
  await testBroker.drop();
  rmSync(folder, { recursive: true });
});

async function until(fact: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await isSo())) {
    assert(performance.now() < deadline, `in time: ${fact}`);
    await pause(20);
  }
}

async function send(orderId: string): Promise<string> {
  const messageId = uuidv7();
  const connection = await connect(testBroker.url);
  const channel = await connection.createConfirmChannel();
  const body = Buffer.from(toBinary(OrderSettledSchema, create(OrderSettledSchema, { orderId })));
  const options = { messageId, type: OrderSettledSchema.typeName, headers: { tenant: "demo" } };
  channel.sendToQueue(OUTCOMES_QUEUE, body, options);
  await channel.waitForConfirms();
  await connection.close();
  return messageId;
}

async function run(...words: string[]): Promise<{ code: number; said: string }> {
  const lines: string[] = [];
  const desk = {
    letters,
    droppedLog: join(folder, "log", "dropped.jsonl"),
    say: (line: string) => lines.push(line),
  };
  const code = await runDeadLetters(desk, words);
  return { code, said: lines.join("\n") };
}

test("an empty desk says so, and what is no command is explained", async () => {
  assert.deepEqual(await run(), { code: 0, said: "There are no dead letters." });
  assert.equal((await run("burn")).code, 1);
  assert.match((await run("show", uuidv7())).said, /There is no dead letter/);
});

test("poison is put aside, blocks nothing behind it, is shown decoded, and can be replayed", async () => {
  const poison = await send("poison-1");
  await send("after the poison");
  await until("what is behind the poison is handled", () => handled.includes("after the poison"));
  await until("the poison is put aside", async () => (await letters.count(OUTCOMES_QUEUE)) === 1);

  const listed = await run("list");
  assert.match(listed.said, new RegExp(`${poison} .*OrderSettled .*RESERVATION_RELEASED .*too late`));
  const shown: unknown = JSON.parse((await run("show", poison)).said);
  assert(typeof shown === "object" && shown !== null && "body" in shown);
  assert.deepEqual(shown.body, { orderId: "poison-1" });

  isHealed = true;
  assert.deepEqual(await run("replay", poison), {
    code: 0,
    said: `holdfast.order.v1.OrderSettled ${poison} is back in ${OUTCOMES_QUEUE}.`,
  });
  await until("the replayed one is handled", () => handled.includes("poison-1"));
  assert.equal((await run("show", poison)).code, 1);
  isHealed = false;
});

test("a dropped message is written down with the reason; without one it stays", async () => {
  const poison = await send("poison-2");
  await until("the poison is put aside", async () => (await letters.count(OUTCOMES_QUEUE)) === 1);
  assert.equal((await run("drop", poison)).code, 1);
  assert.equal(await letters.count(OUTCOMES_QUEUE), 1);
  assert.equal((await run("drop", poison, "the", "customer", "agreed")).code, 0);
  assert.equal(await letters.count(OUTCOMES_QUEUE), 0);
  const record: unknown = JSON.parse(readFileSync(join(folder, "log", "dropped.jsonl"), "utf8"));
  assert(typeof record === "object" && record !== null && "dropReason" in record && "messageId" in record);
  assert.equal(record.dropReason, "the customer agreed");
  assert.equal(record.messageId, poison);
});

test("all that are there are replayed at once", async () => {
  const orders = ["poison-3", "poison-4", "poison-5"];
  for (const orderId of orders) await send(orderId);
  await until("all are put aside", async () => (await letters.count(OUTCOMES_QUEUE)) === orders.length);
  isHealed = true;
  assert.equal((await run("replay", "all", "no.such.queue")).code, 1);
  assert.match((await run("replay", "all")).said, /^3 messages are back/);
  await until("all are handled", () => orders.every((orderId) => handled.includes(orderId)));
  isHealed = false;
});
