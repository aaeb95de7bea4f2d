import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Channel, type ChannelModel, connect } from "amqplib";
import { pino } from "pino";
import type { Loop } from "#libs/boot";
import { type Broker, connectBroker, createConsumer, on } from "#libs/events";
import { createTestBroker, type TestBroker } from "#libs/testing";
import { OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { SERVICES } from "../stack/system.ts";
import { brokerUserOf, type Definitions, defineBroker } from "./rabbitmq-definitions.ts";

const log = pino({ enabled: false });
const DEADLINE_MS = 20_000;
const POLL_MS = 20;

describe("at a broker with the definitions", () => {
  const passwords = { order: "one", inventory: "two" };
  const settled: string[] = [];
  const running: (Loop | Broker)[] = [];
  let broker: TestBroker;
  let connection: ChannelModel;

  async function manage(method: string, path: string, body?: object): Promise<void> {
    const api = new URL(path, process.env["TEST_RABBITMQ_API_URL"]);
    const authorization = `Basic ${btoa(`${api.username}:${api.password}`)}`;
    api.username = "";
    api.password = "";
    const headers = { authorization, "content-type": "application/json" };
    const response = await fetch(api, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    assert(response.ok, `${method} ${path}: ${response.status} ${await response.text()}`);
  }

  /** The same without the administrator, who has the name of the one that this broker has already. */
  function withoutAdministrator(definitions: Definitions): Definitions {
    const [administrator] = definitions.users;
    return {
      ...definitions,
      users: definitions.users.slice(1),
      permissions: definitions.permissions.filter(({ user }) => user !== administrator?.name),
    };
  }

  function urlFor(service: string, password: string): string {
    const url = new URL(broker.url);
    url.username = brokerUserOf(service);
    url.password = password;
    return url.href;
  }

  async function until(holds: () => boolean, fact: string): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    while (!holds()) {
      assert(performance.now() < deadline, `it was not so in time: ${fact}`);
      await pause(POLL_MS);
    }
  }

  before(async () => {
    broker = await createTestBroker();
    const vhost = new URL(broker.url).pathname.slice(1);
    await manage("POST", "/api/definitions", withoutAdministrator(defineBroker(passwords, "", vhost)));
    const inventory = connectBroker({ url: urlFor("inventory", passwords.inventory), name: "test", log });
    const handler = on(OrderSettledSchema, async (event) => {
      settled.push(event.orderId);
    });
    const queue = "holdfast.inventory.orders";
    running.push(createConsumer({ broker: inventory, log, queue, handlers: [handler] }), inventory);
    await until(() => inventory.state() === "connected", "inventory has declared what it needs");
    connection = await connect(urlFor("order", passwords.order));
  });

  after(async () => {
    for (const part of running) await part.stop();
    await connection.close();
    await broker.drop();
    for (const service of SERVICES) await manage("DELETE", `/api/users/${brokerUserOf(service)}`);
  });

  /** The broker closes a channel on which something was refused, so that each try has its own. */
  async function refused(use: (channel: Channel) => Promise<unknown>): Promise<void> {
    const channel = await connection.createConfirmChannel();
    const closed = new Promise<Error>((resolve) => channel.once("error", resolve));
    const outcome = use(channel).then(
      () => new Promise<never>(() => {}),
      (error: unknown) => error,
    );
    const error = await Promise.race([closed, outcome]);
    assert(error instanceof Error);
    assert.match(error.message, /ACCESS.REFUSED/);
  }

  test("a service declares what is shared and what is its own", async () => {
    const url = urlFor("order", passwords.order);
    const order = connectBroker({ url, name: "test", log });
    const queue = "holdfast.order.nudges";
    const consumer = createConsumer({ broker: order, log, queue, handlers: [] });
    await until(() => order.state() === "connected", "order has declared what it needs");
    await consumer.stop();
    await order.stop();
  });

  test("an event of one service reaches the other, and a nudge its rung or its queue", async () => {
    const channel = await connection.createConfirmChannel();
    const body = toBinary(OrderSettledSchema, create(OrderSettledSchema, { orderId: "o-1" }));
    const type = OrderSettledSchema.typeName;
    channel.publish("holdfast.events", type, Buffer.from(body), { type, headers: { tenant: "demo" } });
    channel.publish("holdfast.delay.1s", "holdfast.order.nudges", Buffer.from("nudge"));
    channel.publish("", "holdfast.order.nudges", Buffer.from("due nudge"));
    await channel.waitForConfirms();
    await until(() => settled.includes("o-1"), "inventory has heard of it");
    await channel.close();
  });

  test("a service can't speak in another's name", async () => {
    await refused(async (channel) => {
      channel.publish("holdfast.events", "holdfast.inventory.v1.StockRanLow", Buffer.from("a lie"));
    });
  });

  test("a service can't read another's queue", async () => {
    await refused((channel) => channel.get("holdfast.inventory.orders"));
  });

  test("a service can't delete another's queue", async () => {
    await refused((channel) => channel.deleteQueue("holdfast.inventory.orders"));
  });

  test("a service can't declare what is neither shared nor its own", async () => {
    await refused((channel) => channel.assertQueue("holdfast.inventory.more"));
    await refused((channel) => channel.assertExchange("elsewhere", "fanout"));
  });

  test("a wrong password opens nothing", async () => {
    await assert.rejects(connect(urlFor("order", passwords.inventory)), /ACCESS.REFUSED/);
  });
});

test("the file has a user for each service whose password is given, and no password as it is", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-definitions-"));
  try {
    const path = join(folder, "definitions.json");
    const passwords = SERVICES.map((service) => [
      `${service.toUpperCase()}_BROKER_PASSWORD`,
      `pw-${service}`,
    ]);
    const env = { ...Object.fromEntries(passwords), RABBITMQ_PASSWORD: "pw-administrator" };
    const script = join(import.meta.dirname, "rabbitmq-definitions.ts");
    await promisify(execFile)(process.execPath, [script, path], { env });
    const text = await readFile(path, "utf8");
    assert.doesNotMatch(text, /pw-/);
    const { users }: Definitions = JSON.parse(text);
    assert.deepEqual(
      users.map(({ name }) => name).sort(),
      ["holdfast", ...SERVICES.map((service) => `holdfast_${service}`)].sort(),
    );
    await assert.rejects(
      promisify(execFile)(process.execPath, [script, path], { env: {} }),
      /RABBITMQ_PASSWORD/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
