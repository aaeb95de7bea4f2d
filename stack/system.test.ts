import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  databases,
  environmentOf,
  GATEWAY_PORT,
  GATEWAY_PORT_MAX,
  INSTANCES_MAX,
  layoutFrom,
  layoutOnFreePorts,
  type Surroundings,
  serviceVariables,
} from "./system.ts";

const around: Surroundings = {
  databaseUrls: { order: "postgres://127.0.0.1/a", inventory: "postgres://127.0.0.1/b" },
  amqpUrl: "amqp://127.0.0.1",
  chosen: { EXPIRY_SWEEPER: "off", LOG_LEVEL: undefined },
};

test("no two parts are given the same port, with as many instances as there may be", async () => {
  const counts = { order: INSTANCES_MAX, inventory: INSTANCES_MAX };
  for (const layout of [layoutFrom(GATEWAY_PORT, counts), await layoutOnFreePorts(counts)]) {
    assert.equal(layout.instances.length, 2 * INSTANCES_MAX);
    assert.equal(layout.ports.size, 7 + 4 * INSTANCES_MAX);
  }
});

test("all ports follow the gateway's, and exist for the highest one that is allowed", () => {
  const counts = { order: INSTANCES_MAX, inventory: INSTANCES_MAX };
  const low = [...layoutFrom(GATEWAY_PORT, counts).ports.keys()];
  const high = [...layoutFrom(GATEWAY_PORT_MAX, counts).ports.keys()];
  assert.deepEqual(
    low.map((port) => port - GATEWAY_PORT),
    high.map((port) => port - GATEWAY_PORT_MAX),
  );
  assert(Math.max(...high) <= 65_535);
});

test("each instance is told its own name, addresses and database, and order also where inventory is", () => {
  const layout = layoutFrom(8_080, { order: 2, inventory: 2 });
  const [, order, inventory] = layout.instances;
  assert(order && inventory);
  assert.deepEqual(environmentOf(order, layout, around), {
    INSTANCE: "order-2",
    RPC_ADDRESS: "127.0.0.1:8092",
    OPS_ADDRESS: "127.0.0.1:8102",
    DATABASE_URL: around.databaseUrls.order,
    AMQP_URL: around.amqpUrl,
    INVENTORY_URL: "http://127.0.0.1:8111,http://127.0.0.1:8112",
    LOG_LEVEL: "info",
    EXPIRY_NUDGES: "on",
    EXPIRY_SWEEPER: "off",
    RECOVERY_AFTER_MS: "30000",
  });
  assert.equal(environmentOf(inventory, layout, around)["INVENTORY_URL"], undefined);
  assert.equal(environmentOf(inventory, layout, around)["DATABASE_URL"], around.databaseUrls.inventory);
});

test("no two services share a database", () => {
  assert.equal(new Set(Object.values(databases)).size, Object.keys(databases).length);
});

test("every variable that a person may set stands in .env.example with its standard value", () => {
  const example = readFileSync(join(import.meta.dirname, "..", ".env.example"), "utf8").split("\n");
  for (const { name, standard } of serviceVariables) {
    if (standard !== undefined) assert(example.includes(`${name}=${standard}`), name);
  }
});
