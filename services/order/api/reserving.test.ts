import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import { pino } from "pino";
import { Registry } from "prom-client";
import { DomainError } from "#libs/reasons";
import { service, startRpcServer } from "#libs/rpc";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { limits } from "../domain/limits.ts";
import { connectInventory, type OrderToReserve } from "../inventory.ts";
import { createOrderMetrics } from "../metrics.ts";
import { createReserving } from "./reserving.ts";

const log = pino({ level: "silent" });
const MAX_LINES = 100;

/** As large as an order may be, with the longest names. */
function largeOrder(): OrderToReserve {
  const orderId = randomUUID();
  const lines = Array.from({ length: MAX_LINES }, (_, number) => ({
    sku: `${number}`.padStart(64, "s"),
    locationId: "l".repeat(64),
    quantity: 1_000_000,
    unitAmount: 1n,
  }));
  const deadline = Number.POSITIVE_INFINITY;
  return { orderId, reservationId: orderId, lines, requestId: randomUUID(), deadline };
}

describe("orders that ask for stock together", () => {
  it("fit into messages that Inventory takes, however large they are", async () => {
    const calls: number[] = [];
    const server = await startRpcServer({
      address: "127.0.0.1:0",
      services: [
        service(OrderReservationService, {
          reserveOrders: async ({ orders }) => {
            calls.push(orders.length);
            return { results: orders.map(() => ({ state: Reservation_State.ACTIVE })) };
          },
        }),
      ],
      reflected: [],
      log,
    });
    const metrics = createOrderMetrics(new Registry());
    const { reserveOrders } = connectInventory({ urls: [`http://${server.address}`], log, metrics });
    const reserving = createReserving(reserveOrders, metrics);
    try {
      const orders = Array.from({ length: limits.batchCalls }, largeOrder);
      const answers = await Promise.all(orders.map((order) => reserving.submit(order, { key: "demo" })));
      assert.deepEqual(new Set(answers.map(({ state }) => state)), new Set(["RESERVED"]));
      assert.deepEqual(
        calls.toSorted((one, other) => one - other),
        [16, 60, 60, 60, 60],
      );
    } finally {
      await server.stop({ noticeMs: 0, drainTimeoutMs: 100 });
    }
  });

  it("fail only with those of their own message", async () => {
    const orders = Array.from({ length: limits.batchCalls }, largeOrder);
    const reserving = createReserving(async (_tenant, part) => {
      if (part.some(({ orderId }) => orderId === orders[0]?.orderId))
        throw new DomainError("DEPENDENCY_UNAVAILABLE", "Inventory does not answer");
      return part.map(() => ({ state: "RESERVED" }));
    }, createOrderMetrics(new Registry()));
    const outcomes = await Promise.allSettled(
      orders.map((order) => reserving.submit(order, { key: "demo" })),
    );
    const failed = outcomes.filter(({ status }) => status === "rejected").length;
    assert.equal(failed, limits.linesACall / MAX_LINES);
  });
});
