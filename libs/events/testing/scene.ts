import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { connect, type Options } from "amqplib";
import pino from "pino";
import type { Loop } from "#libs/boot";
import { inTransaction, type Sql } from "#libs/db";
import { createTestBroker, createTestDatabase } from "#libs/testing";
import { OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { type Broker, connectBroker } from "../broker.ts";
import { type OutboxMessage, toOutbox } from "../message.ts";
import { insertOutbox } from "../outbox.ts";

/** What the tests of this folder play in: a database with an outbox, and a virtual host of the broker. */
export type Scene = {
  readonly sql: Sql;
  readonly databaseUrl: string;
  readonly url: string;
  readonly broker: Broker;
  readonly log: pino.Logger;
  /** Stops the loop at the end of the test, before the scene is struck. */
  running<Running extends Loop>(loop: Running): Running;
};

/** Sets the scene, and strikes it after the test. */
export async function setScene(test: TestContext): Promise<Scene> {
  const log = pino({ level: "silent" });
  const [database, host] = await Promise.all([
    createTestDatabase(join(import.meta.dirname, "..", "migrations")),
    createTestBroker(),
  ]);
  const broker = connectBroker({ url: host.url, name: "test", log });
  const loops: Loop[] = [];
  test.after(async () => {
    await Promise.all(loops.map((loop) => loop.stop()));
    await broker.stop();
    await Promise.all([database.drop(), host.drop()]);
  });
  function running<Running extends Loop>(loop: Running): Running {
    loops.push(loop);
    return loop;
  }
  return { sql: database.sql, databaseUrl: database.url, url: host.url, broker, log, running };
}

const DEADLINE_MS = 20_000;
const POLL_MS = 20;

/** Waits until the condition is true; fails after a deadline with what was last seen. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  seen?: () => unknown,
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline) {
      throw new Error(
        `not within ${deadlineMs} ms: ${isTrue.toString()}; last seen: ${JSON.stringify(seen?.())}`,
      );
    }
    await pause(POLL_MS);
  }
}

/** Makes `count` events, each of an order of its own. */
export function settledOrders(count: number, prefix = "order"): OutboxMessage[] {
  return Array.from({ length: count }, (_, index) =>
    toOutbox(
      OrderSettledSchema,
      create(OrderSettledSchema, { orderId: `${prefix}-${index}`, paymentReference: "paid" }),
      { tenant: "demo", mandatory: true },
    ),
  );
}

/** Writes messages in a transaction of their own. */
export async function commit(sql: Sql, messages: readonly OutboxMessage[]): Promise<void> {
  await inTransaction(sql, (tx) => insertOutbox(tx, messages));
}

/** How many messages the outbox has. */
export async function outboxDepth(sql: Sql): Promise<number> {
  const [row] = await sql<{ depth: number }[]>`select count(*)::int as depth from outbox`;
  return row?.depth ?? 0;
}

/** Sends bytes to the broker past the outbox, as a stranger would. */
export async function sendRaw(
  url: string,
  exchange: string,
  routingKey: string,
  body: Uint8Array,
  properties: Options.Publish,
): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  channel.publish(exchange, routingKey, Buffer.from(body), properties);
  await channel.waitForConfirms();
  await connection.close();
}

/** Deletes a queue under everybody's feet. */
export async function deleteQueue(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.deleteQueue(queue);
  await connection.close();
}
