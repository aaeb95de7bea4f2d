import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { Registry } from "prom-client";
import { DomainError } from "#libs/reasons";
import { type Call, service, startRpcServer } from "#libs/rpc";
import { Reservation_State } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import {
  OrderReservationService,
  type ReserveOrdersRequest,
} from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { connectInventory, type OrderToReserve } from "./inventory.ts";
import { createOrderMetrics } from "./metrics.ts";
import { rejectsWith } from "./testing/facts.ts";

const log = pino({ level: "silent" });
const orderId = "0198c0de-0000-7000-8000-000000000001";
const line = { sku: "tea", quantity: 2, locationId: "main", unitAmount: 5n };
const order: OrderToReserve = {
  orderId,
  reservationId: orderId,
  lines: [line],
  requestId: "request-1",
  deadline: Number.POSITIVE_INFINITY,
};

function waiting(forMs: number): OrderToReserve {
  return { ...order, deadline: performance.now() + forMs };
}

type Results = { state?: Reservation_State; refusal?: { reason: string; field?: string } }[];

async function withInventory(
  answer: (request: ReserveOrdersRequest, call: Call) => Results | Promise<Results>,
  work: (
    reserve: (orders: readonly OrderToReserve[]) => Promise<unknown>,
    registry: Registry,
  ) => Promise<void>,
): Promise<void> {
  const server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [
      service(OrderReservationService, {
        reserveOrders: async (request, call) => ({ results: await answer(request, call) }),
      }),
    ],
    reflected: [],
    log,
  });
  const registry = new Registry();
  const metrics = createOrderMetrics(registry);
  const { reserveOrders } = connectInventory({ urls: [`http://${server.address}`], log, metrics });
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
        { state: "REFUSED", refusal, repeated: false },
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

  it("is told how long the most patient of the callers waits, and no longer than is useful", async () => {
    const grantedMs: number[] = [];
    const answer = ({ orders }: ReserveOrdersRequest, call: Call): Results => {
      grantedMs.push(call.deadline - performance.now());
      return orders.map(() => ({ state: Reservation_State.ACTIVE }));
    };
    await withInventory(answer, async (reserve) => {
      await reserve([waiting(500), waiting(2_000), waiting(-10)]);
      await reserve([order]);
      await rejectsWith("DEADLINE_PASSED", reserve([waiting(-10)]));
    });
    const [patient = 0, longest = 0, ...more] = grantedMs;
    assert.ok(patient > 1_000 && patient <= 1_750, `${patient} ms`);
    assert.ok(longest > 3_000 && longest <= 4_000, `${longest} ms`);
    assert.deepEqual(more, []);
  });

  it("that is asked by callers in a hurry is not taken for away", async () => {
    const never = (_request: ReserveOrdersRequest, { signal }: Call) =>
      new Promise<Results>((resolve) => {
        signal.addEventListener("abort", () => resolve([]));
      });
    await withInventory(never, async (reserve, registry) => {
      for (let time = 0; time < 8; time += 1) await rejectsWith("DEADLINE_PASSED", reserve([waiting(50)]));
      assert.match(await registry.metrics(), /inventory_circuit\{state="closed"\} 1/);
    });
  });

  it("that does not answer is left alone for a while", async () => {
    const registry = new Registry();
    const metrics = createOrderMetrics(registry);
    const { reserveOrders } = connectInventory({ urls: ["http://127.0.0.1:1"], log, metrics });
    for (let time = 0; time < 10; time += 1) {
      const error = await rejectsWith("DEPENDENCY_UNAVAILABLE", reserveOrders("demo", [order]));
      assert.equal(error.data.metadata?.["dependency"], "inventory");
    }
    const text = await registry.metrics();
    assert.match(text, /inventory_circuit\{state="open"\} 1/);
    assert.match(text, new RegExp(`outcome="${Code[Code.Unavailable]}"\\} [5-9]`));
  });
});
