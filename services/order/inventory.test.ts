import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { Registry } from "prom-client";
import { DomainError } from "#libs/reasons";
import { service, startRpcServer } from "#libs/rpc";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  OrderReservationService,
  type ReserveOrdersRequest,
} from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { createReserveOrders, type OrderToReserve } from "./inventory.ts";
import { createOrderMetrics } from "./metrics.ts";
import { rejectsWith } from "./testing/facts.ts";

const log = pino({ level: "silent" });
const orderId = "0198c0de-0000-7000-8000-000000000001";
const line = { sku: "tea", quantity: 2, locationId: "", unitAmount: 5n };
const order: OrderToReserve = {
  orderId,
  reservationId: orderId,
  lines: [line],
  requestId: "request-1",
  deadline: Number.POSITIVE_INFINITY,
};

type Results = { state?: Reservation_State; refusal?: { reason: string; field?: string } }[];

async function withInventory(
  answer: (request: ReserveOrdersRequest) => Results,
  work: (
    reserve: (orders: readonly OrderToReserve[]) => Promise<unknown>,
    registry: Registry,
  ) => Promise<void>,
): Promise<void> {
  const server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [
      service(OrderReservationService, { reserveOrders: async (request) => ({ results: answer(request) }) }),
    ],
    reflected: [],
    log,
  });
  const registry = new Registry();
  const metrics = createOrderMetrics(registry);
  const reserveOrders = createReserveOrders({ urls: [`http://${server.address}`], log, metrics });
  try {
    await work((orders) => reserveOrders("demo", orders), registry);
  } finally {
    await server.stop({ noticeMs: 0, drainTimeoutMs: 100 });
  }
}

describe("Inventory", () => {
  it("is asked for many orders at once and answers each", async () => {
    const answer = ({ orders }: ReserveOrdersRequest): Results => {
      assert.deepEqual(
        orders.map(({ traceId, lines }) => [traceId, lines.map(({ sku, quantity }) => [sku, quantity])]),
        orders.map(() => ["request-1", [["tea", 2]]]),
      );
      return [
        { state: Reservation_State.ACTIVE },
        { state: Reservation_State.RELEASED },
        { refusal: { reason: "ITEM_NOT_FOUND", field: "lines[0].sku" } },
      ];
    };
    await withInventory(answer, async (reserve, registry) => {
      const refusal = {
        reason: "ITEM_NOT_FOUND",
        message: "",
        metadata: {},
        shortages: [],
        field: "lines[0].sku",
      };
      assert.deepEqual(await reserve([order, order, order]), [
        { state: "RESERVED" },
        { state: "RELEASED" },
        { state: "REFUSED", refusal },
      ]);
      assert.match(await registry.metrics(), /inventory_call_seconds_count\{outcome="OK"\} 1/);
    });
  });

  it("that answers another number of orders is not believed", async () => {
    await withInventory(
      () => [],
      async (reserve) => {
        await assert.rejects(reserve([order]), /answered 0 of 1 orders/);
      },
    );
  });

  it("that has too much to do says so", async () => {
    const overloaded = () => {
      throw new DomainError("OVERLOADED", "full");
    };
    await withInventory(overloaded, async (reserve) => {
      await rejectsWith("OVERLOADED", reserve([order]));
    });
  });

  it("that does not answer is left alone for a while", async () => {
    const registry = new Registry();
    const metrics = createOrderMetrics(registry);
    const reserveOrders = createReserveOrders({ urls: ["http://127.0.0.1:1"], log, metrics });
    for (let time = 0; time < 10; time += 1) {
      const error = await rejectsWith("DEPENDENCY_UNAVAILABLE", reserveOrders("demo", [order]));
      assert.equal(error.data.metadata?.["dependency"], "inventory");
    }
    const text = await registry.metrics();
    assert.match(text, /inventory_circuit\{state="open"\} 1/);
    assert.match(text, new RegExp(`outcome="${Code[Code.Unavailable]}"\\} [5-9]`));
  });
});
