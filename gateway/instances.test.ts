import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { STANDARD_STOP } from "#libs/rpc";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { findFreePorts } from "../stack/ports.ts";
import { type StandIn, startStandIn, startTestGateway, type TestGateway, waitUntil } from "./testing.ts";

const CALLERS = 8;
/** So many calls in a row don't miss an instance that is in the balance. */
const CALLS_TO_ALL = 30;
/** Longer than the gateway needs to see that an instance stops. */
const LONG_NOTICE_MS = 6_000;
/** With three draws for another instance instead of thirty, every second one costs a call. */
const SUDDEN_STOPS = 12;
const GONE_MS = 100;
/** Between two calls of one caller. */
const CALL_PAUSE_MS = 5;

async function withInstances(
  first: StandIn,
  second: string,
  body: (gateway: TestGateway) => Promise<void>,
): Promise<void> {
  const gateway = await startTestGateway({ order: [first.address, second] });
  try {
    await body(gateway);
  } finally {
    await gateway.stop();
    await first.stop();
  }
}

async function settle(gateway: TestGateway): Promise<number> {
  const path = "/v1/orders/2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b11:settle";
  const response = await fetch(`${gateway.url}${path}`, { method: "POST", body: "{}" });
  await response.text();
  return response.status;
}

describe("of two instances", () => {
  test("one that is not there costs no call, and no write is sent twice", async () => {
    const first = await startStandIn([OrderService]);
    const [nobodys] = await findFreePorts(1);
    await withInstances(first, `127.0.0.1:${nobodys}`, async (gateway) => {
      const statuses = await Promise.all(Array.from({ length: 40 }, () => settle(gateway)));
      assert.deepEqual(new Set(statuses), new Set([200]));
      assert.equal(first.calls.length, 40);
    });
  });

  test("one that is stopped in good order costs no call, though writes go on all the time", async () => {
    const first = await startStandIn([OrderService]);
    const second = await startStandIn([OrderService]);
    await withInstances(first, second.address, async (gateway) => {
      await waitUntil(async () => {
        await settle(gateway);
        return first.calls.length > 0 && second.calls.length > 0;
      }, "both instances are called");
      const statuses = new Map<number, number>();
      let stopping = true;
      const callers = Array.from({ length: CALLERS }, async () => {
        while (stopping) {
          const status = await settle(gateway);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          await pause(CALL_PAUSE_MS);
        }
      });
      await second.server.stop({ ...STANDARD_STOP, drainTimeoutMs: 1_000 });
      const atTheEnd = second.calls.length;
      await waitUntil(async () => first.calls.length > atTheEnd, "the other goes on");
      stopping = false;
      await Promise.all(callers);
      assert.deepEqual([...statuses.keys()], [200]);
      assert.equal(second.calls.length, atTheEnd);
    });
  });
});

test("of two instances one that goes without notice is not tried again and again", async () => {
  const stays = await startStandIn([OrderService]);
  let goes = await startStandIn([OrderService]);
  const { address } = goes;
  const gateway = await startTestGateway({ order: [address, stays.address] });
  let isOver = false;
  const callers = Array.from({ length: 2 * CALLERS }, async () => {
    while (!isOver) await settle(gateway);
  });
  try {
    for (let stop = 0; stop < SUDDEN_STOPS; stop += 1) {
      await waitUntil(async () => goes.calls.length > CALLS_TO_ALL, "both instances are called");
      await goes.stop();
      await pause(GONE_MS);
      goes = await startStandIn([OrderService], address);
    }
    const counts = await countRetries(gateway);
    assert.ok((counts.get("upstream_rq_retry") ?? 0) > SUDDEN_STOPS, "it was missed by few");
    assert.equal(counts.get("upstream_rq_retry_limit_exceeded"), 0);
  } finally {
    isOver = true;
    await Promise.all(callers);
    await gateway.stop();
    await Promise.all([stays.stop(), goes.stop()]);
  }
});

async function countRetries({ adminUrl }: TestGateway): Promise<Map<string, number>> {
  const response = await fetch(`${adminUrl}/stats?filter=^cluster.order.upstream_rq_retry`);
  const lines = (await response.text()).trim().split("\n");
  return new Map(
    lines.map((line) => {
      const [name = "", count] = line.split(": ");
      return [name.replace("cluster.order.", ""), Number(count)];
    }),
  );
}

test("of three instances the only one that does not stop gets all calls", async () => {
  const stays = await startStandIn([OrderService]);
  const leaving = [await startStandIn([OrderService]), await startStandIn([OrderService])];
  const gateway = await startTestGateway({ order: [stays, ...leaving].map(({ address }) => address) });
  try {
    await waitUntil(async () => {
      await settle(gateway);
      return [stays, ...leaving].every(({ calls }) => calls.length > 0);
    }, "all instances are called");
    const closesAt = performance.now() + LONG_NOTICE_MS;
    const stopped = leaving.map(({ server }) => server.stop({ noticeMs: LONG_NOTICE_MS, drainTimeoutMs: 0 }));
    const statuses: number[] = [];
    await waitUntil(async () => {
      const before = stays.calls.length;
      for (let call = 0; call < CALLS_TO_ALL; call += 1) statuses.push(await settle(gateway).catch(() => 0));
      return stays.calls.length === before + CALLS_TO_ALL;
    }, "the one that stays gets all calls");
    assert.deepEqual(new Set(statuses), new Set([200]));
    assert.ok(performance.now() < closesAt, "the others could still be called");
    await Promise.all(stopped);
  } finally {
    await gateway.stop();
    await stays.stop();
  }
});

test("the only instance is called again as soon as it is back", async () => {
  const gateway = await startTestGateway();
  const { address } = gateway.order;
  try {
    assert.equal(await settle(gateway), 200);
    await gateway.order.stop();
    // More than enough failures for the instance to be put aside.
    const statuses = await Promise.all(Array.from({ length: 10 }, () => settle(gateway)));
    assert.deepEqual(new Set(statuses), new Set([503]));
    const again = await startStandIn([OrderService], address);
    assert.equal(await settle(gateway), 200);
    await again.stop();
  } finally {
    await gateway.stop();
  }
});

test("a gateway that drains answers what it has begun and sends its callers away", async () => {
  const gateway = await startTestGateway();
  try {
    let begun = () => {};
    let goOn = () => {};
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const mayGoOn = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    gateway.order.answer(OrderService.method.settleOrder, async () => {
      begun();
      await mayGoOn;
      return {};
    });
    const call = fetch(`${gateway.url}/v1/orders/2a0b6a0e-7e57-4d3b-9d6f-0c4c5a4a1b11:settle`, {
      method: "POST",
    });
    await isBegun;
    for (const command of ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"]) {
      assert.equal((await fetch(`${gateway.adminUrl}${command}`, { method: "POST" })).status, 200);
    }
    goOn();
    const response = await call;
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("connection"), "close");
  } finally {
    await gateway.stop();
  }
});
