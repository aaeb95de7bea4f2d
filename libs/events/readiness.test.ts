import assert from "node:assert/strict";
import { test } from "node:test";
import { inTransaction } from "#libs/db";
import { connectBroker } from "./broker.ts";
import { insertOutbox } from "./outbox.ts";
import { createOutboxReadiness } from "./readiness.ts";
import { setScene, settledOrders, until } from "./testing/scene.ts";

test("an outbox is well while the broker is there, and within its limits while it is not", async (t) => {
  const { sql, log, broker: there } = await setScene(t);
  await inTransaction(sql, (tx) => insertOutbox(tx, settledOrders(3)));
  await sql`update outbox set create_time = create_time - interval '10 minutes'`;
  await until(() => there.state() === "connected");
  assert.equal(await createOutboxReadiness({ sql, broker: there, maxAgeSeconds: 1 })(), "ok");

  const broker = connectBroker({ url: "amqp://127.0.0.1:1", name: "away", log });
  t.after(() => broker.stop());
  assert.equal(await createOutboxReadiness({ sql, broker, graceSeconds: 0 })(), "ok");
  assert.equal(await createOutboxReadiness({ sql, broker, maxAgeSeconds: 500 })(), "ok", "it has just gone");
  const tooOld = createOutboxReadiness({ sql, broker, maxAgeSeconds: 500, graceSeconds: 0 });
  assert.match(await tooOld(), /a message has waited for 60\d s/);
  assert.match(
    await createOutboxReadiness({ sql, broker, maxBytes: 1_000, graceSeconds: 0 })(),
    /takes \d+ bytes/,
  );
  await sql`drop table outbox`;
  assert.match(await tooOld(), /outbox/);
});
