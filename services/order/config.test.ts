import assert from "node:assert/strict";
import { it } from "node:test";
import { configSpec, readOrderConfig } from "./config.ts";

const needed = {
  DATABASE_URL: "postgres://order:secret@127.0.0.1:5432/holdfast_order",
  AMQP_URL: "amqp://127.0.0.1",
  INVENTORY_URL: "http://127.0.0.1:1,http://inventory:8080",
};

it("what is not said has a default", () => {
  const config = readOrderConfig(needed);
  assert.deepEqual(config.inventoryUrls, ["http://127.0.0.1:1", "http://inventory:8080"]);
  assert.deepEqual([config.expiryNudges, config.expirySweeper, config.logLevel], [true, true, "info"]);
  assert.equal(config.recoveryAfterMs, 30_000);
});

it("everything that is wrong or missing is named at once", () => {
  assert.throws(
    () => readOrderConfig({ ...needed, AMQP_URL: "http://x", EXPIRY_NUDGES: "yes", DATABASE_URL: undefined }),
    /DATABASE_URL[^]*AMQP_URL[^]*EXPIRY_NUDGES/,
  );
});

it("every variable is explained", () => {
  for (const [name, { about }] of Object.entries(configSpec)) assert.ok(about.length > 10, name);
});
