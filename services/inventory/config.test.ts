import assert from "node:assert/strict";
import { test } from "node:test";
import { configSpec, readInventoryConfig } from "./config.ts";

const needed = {
  DATABASE_URL: "postgres://inventory:secret@127.0.0.1:5432/holdfast_inventory",
  AMQP_URL: "amqp://127.0.0.1",
};

test("what is not said has a default", () => {
  const config = readInventoryConfig(needed);
  assert.deepEqual([config.expiryNudges, config.expirySweeper, config.logLevel], [true, true, "info"]);
  assert.equal(config.instance, "inventory-1");
});

test("everything that is wrong or missing is named at once", () => {
  assert.throws(
    () => readInventoryConfig({ AMQP_URL: "http://x", EXPIRY_NUDGES: "yes" }),
    /DATABASE_URL[^]*AMQP_URL[^]*EXPIRY_NUDGES/,
  );
});

test("every variable is explained", () => {
  for (const [name, { about }] of Object.entries(configSpec)) assert.ok(about.length > 10, name);
});
