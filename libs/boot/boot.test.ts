import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { describe, test } from "node:test";
import { pino } from "pino";
import { createMetrics, readConfig, startLoop, startOpsServer } from "./index.ts";

const log = pino({ level: "silent" });

describe("the configuration", () => {
  const spec = {
    PORT: { about: "where it listens", pattern: /^\d+$/ },
    LEVEL: { about: "how much it says", default: "info" },
  };

  test("is read with its defaults", () => {
    assert.deepEqual(readConfig(spec, { PORT: "80" }), { PORT: "80", LEVEL: "info" });
  });

  test("that is wrong is refused with everything that is wrong", () => {
    const other = { ...spec, NAME: { about: "who it is" } };
    assert.throws(
      () => readConfig(other, { PORT: "eighty" }),
      /PORT=eighty .*where it listens[^]*NAME .*who it is/,
    );
  });

  test("that is wrong is told without its password", () => {
    const other = { URL: { about: "where it is", pattern: /^postgres:/ } };
    assert.throws(
      () => readConfig(other, { URL: "'postgres://user:p@ss/word@host/name'" }),
      /URL='postgres:\/\/\*\*\*@host\/name' is not right/,
    );
  });
});

describe("a loop", () => {
  test("goes on at once while there is more to do, and stops when asked, twice", async () => {
    let rounds = 0;
    let enough: () => void = () => {};
    const done = new Promise<void>((resolve) => {
      enough = resolve;
    });
    const loop = startLoop({
      name: "test",
      intervalMs: 60_000,
      log,
      work: async () => {
        rounds += 1;
        if (rounds === 5) enough();
        return rounds < 5;
      },
    });
    await done;
    await Promise.all([loop.stop(), loop.stop()]);
    assert.equal(rounds, 5);
  });

  test("survives a failed round", async () => {
    let rounds = 0;
    let again: () => void = () => {};
    const recovered = new Promise<void>((resolve) => {
      again = resolve;
    });
    const loop = startLoop({
      name: "test",
      intervalMs: 1,
      log,
      work: async () => {
        rounds += 1;
        if (rounds === 1) throw new Error("the database is gone");
        again();
        return false;
      },
    });
    await recovered;
    await loop.stop();
    assert.ok(rounds >= 2);
  });
});

test("the operations server tells life, readiness with its reasons, and metrics", async () => {
  const parts = { database: "ok", broker: "ok" };
  const metrics = createMetrics();
  metrics.observeCall("Orders/Create", "OK", 12, false);
  const ops = await startOpsServer({
    address: "127.0.0.1:0",
    readiness: async () => parts,
    notes: () => ({ inventory: "circuit open" }),
    registry: metrics.registry,
    log,
  });
  const get = async (path: string) => await fetch(`http://${ops.address}${path}`);
  assert.equal((await get("/livez")).status, 200);
  assert.equal((await get("/readyz")).status, 200);
  parts.broker = "disconnected";
  const unready = await get("/readyz");
  assert.equal(unready.status, 503);
  assert.deepEqual(await unready.json(), {
    status: "unavailable",
    inventory: "circuit open",
    database: "ok",
    broker: "disconnected",
  });
  parts.broker = "ok";
  ops.setStopping();
  assert.equal((await get("/readyz")).status, 503);
  assert.match(
    await (await get("/metrics")).text(),
    /rpc_calls_total\{rpc="Orders\/Create",outcome="OK"\} 1/,
  );
  assert.equal((await get("/elsewhere")).status, 404);
  await ops.stop();
});

const hasIpv6 = Object.values(networkInterfaces()).some((ways) =>
  ways?.some(({ address }) => address === "::1"),
);

test("the operations server listens on an IPv6 address too", { skip: !hasIpv6 }, async () => {
  const ops = await startOpsServer({
    address: "[::1]:0",
    readiness: async () => ({}),
    registry: createMetrics().registry,
    log,
  });
  assert.match(ops.address, /^\[::1\]:\d+$/);
  assert.equal((await fetch(`http://${ops.address}/livez`)).status, 200);
  await ops.stop();
});

test("a call refused at the door is counted by its reason and makes the others look no quicker", async () => {
  const metrics = createMetrics();
  metrics.observeCall("Orders/Create", "OK", 400, false);
  // Refused by a queue behind the door: it took its time like any other.
  metrics.observeCall("Orders/Create", "OVERLOADED", 200, false);
  for (let call = 0; call < 98; call += 1) metrics.observeCall("Orders/Create", "OVERLOADED", 0, true);
  const text = await metrics.registry.metrics();
  assert.match(text, /^rpc_calls_refused_total\{rpc="Orders\/Create",reason="OVERLOADED"\} 98$/m);
  assert.match(text, /^rpc_call_seconds_count\{rpc="Orders\/Create"\} 2$/m);
  assert.match(text, /^rpc_call_seconds_bucket\{le="0.1",rpc="Orders\/Create"\} 0$/m);
  // Every answer is there.
  assert.match(text, /^rpc_calls_total\{rpc="Orders\/Create",outcome="OK"\} 1$/m);
  assert.match(text, /^rpc_calls_total\{rpc="Orders\/Create",outcome="OVERLOADED"\} 99$/m);
});

test("a process whose parts do not answer is unready, and says so in time", async () => {
  const ops = await startOpsServer({
    address: "127.0.0.1:0",
    readiness: () => new Promise(() => {}),
    registry: createMetrics().registry,
    log,
  });
  const answer = await fetch(`http://${ops.address}/readyz`);
  assert.equal(answer.status, 503);
  assert.match(await answer.text(), /within 2000 ms/);
  await ops.stop();
});
