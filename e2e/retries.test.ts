/**
 * Every mutation of the contract: sent ten times at once under one request_id, and then with another
 * content.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  toJsonString,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService, SettleOrderRequest_LatePolicy } from "#proto/holdfast/order/v1/order_pb.ts";
import { countRows } from "./rows.ts";
import {
  assertConsistent,
  type Failure,
  failureOf,
  outboxRows,
  PROTOCOLS,
  placeOrder,
  receive,
  startTestSystem,
  stateOf,
  type TestSystem,
  until,
  untilCounters,
} from "./testing.ts";

const TIMES = 10;

let system: TestSystem;

before(async () => {
  system = await startTestSystem({ order: 2, inventory: 2 });
});

after(() => system?.stop());

type Mutation = {
  readonly name: string;
  /** Prepares what the request needs, and returns a way to send it, itself and with another content. */
  prepare(): Promise<{
    send(requestId: string, protocol: (typeof PROTOCOLS)[number]): Promise<string>;
    sendOther(requestId: string): Promise<unknown>;
  }>;
};

/** A mutation whose request is made anew, with what it needs, for each test. */
function mutation<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  make: () => Promise<MessageInitShape<I>>,
  other: Readonly<Record<string, unknown>>,
): Mutation {
  const call = async (request: MessageShape<I>, protocol: (typeof PROTOCOLS)[number]) => {
    const { transport } = system.over[protocol];
    const init = request as MessageInitShape<I>;
    const { message } = await transport.unary(method, undefined, undefined, undefined, init);
    return toJsonString(method.output, message);
  };
  return {
    name: `${method.parent.name}.${method.name}`,
    async prepare() {
      const made = create(method.input, await make());
      return {
        send: (requestId, protocol) => call({ ...made, requestId }, protocol),
        sendOther: (requestId) => call({ ...made, ...other, requestId }, "gRPC"),
      };
    },
  };
}

async function newSku(): Promise<string> {
  return await receive(system, 100, "retried");
}

async function newOrderId(): Promise<string> {
  return (await placeOrder(system, await newSku(), 2)).orderId;
}

/** An order whose payment came too late, and is to be given back. */
async function newRefundId(): Promise<string> {
  const sku = await newSku();
  const { orderId } = await placeOrder(system, sku, 2, 1);
  const { REFUSE: latePolicy } = SettleOrderRequest_LatePolicy;
  await until(
    "the order is expired",
    () => system.orders.getOrder({ orderId }),
    ({ order }) => stateOf(order) === "EXPIRED",
  );
  const { reason } = await failureOf(system.orders.settleOrder({ orderId, latePolicy }));
  assert.equal(reason, "ORDER_EXPIRED");
  await untilCounters(system, sku, { onHand: 100, reserved: 0 });
  return orderId;
}

async function newReservationId(): Promise<string> {
  const lines = [{ sku: await newSku(), quantity: 2 }];
  const { reservation } = await system.inventory.createReservation({ lines, owner: "till 1" });
  assert(reservation);
  return reservation.reservationId;
}

const week = { seconds: 604_800n };
const { method: orders } = OrderService;
const { method: inventory } = InventoryService;
const otherUuid = "0198a8a8-0000-7000-8000-000000000001";

const mutations: Mutation[] = [
  mutation(
    orders.createOrder,
    async () => ({ customerId: "ann", lines: [{ sku: await newSku(), quantity: 2 }] }),
    { customerId: "ben" },
  ),
  mutation(orders.settleOrder, async () => ({ orderId: await newOrderId(), paymentReference: "card" }), {
    paymentReference: "cash",
  }),
  mutation(orders.cancelOrder, async () => ({ orderId: await newOrderId(), reason: "changed my mind" }), {
    reason: "too late",
  }),
  mutation(orders.resolveRefund, async () => ({ orderId: await newRefundId(), resolution: "refund 12" }), {
    resolution: "refund 13",
  }),
  mutation(orders.extendOrder, async () => ({ orderId: await newOrderId(), ttl: week }), {
    orderId: otherUuid,
  }),
  mutation(inventory.createItem, async () => ({ sku: `made-${randomUUID()}`, displayName: "mug" }), {
    displayName: "cup",
  }),
  mutation(inventory.updateItem, async () => ({ sku: await newSku(), displayName: "mug" }), {
    displayName: "cup",
  }),
  mutation(inventory.archiveItem, async () => ({ sku: await newSku() }), { sku: "another" }),
  mutation(inventory.createLocation, async () => ({ locationId: `shop-${randomUUID()}` }), {
    displayName: "shop",
  }),
  mutation(inventory.adjustStock, async () => ({ changes: [{ sku: await newSku(), delta: -3 }] }), {
    reason: "broken",
  }),
  mutation(
    inventory.createReservation,
    async () => ({ lines: [{ sku: await newSku(), quantity: 2 }], owner: "till 1" }),
    { owner: "till 2" },
  ),
  mutation(inventory.commitReservation, async () => ({ reservationId: await newReservationId() }), {
    reservationId: otherUuid,
  }),
  mutation(inventory.releaseReservation, async () => ({ reservationId: await newReservationId() }), {
    reservationId: otherUuid,
  }),
  mutation(
    inventory.extendReservation,
    async () => ({ reservationId: await newReservationId(), ttl: week }),
    {
      reservationId: otherUuid,
    },
  ),
];

test("the list above names every mutation of the contract", () => {
  const all = [OrderService, InventoryService].flatMap((service) =>
    service.methods
      .filter(({ idempotency }) => idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS)
      .map((method) => `${service.name}.${method.name}`),
  );
  assert.deepEqual(mutations.map(({ name }) => name).sort(), all.sort());
});

/** What running this adds to each table, once the events that it set off have had their effect. */
async function rowsAddedBy(work: () => Promise<void>): Promise<Record<string, number>> {
  const present = await countRows(system);
  await work();
  await until("all events are published", outboxRowsOfBoth, (rows) => rows === 0);
  await until("no order that has ended has stock", endedWithStock, (rows) => rows === 0);
  const counts = await untilStill(() => countRows(system));
  const added = Object.entries(counts).map(([table, rows]) => [table, rows - (present[table] ?? 0)] as const);
  return Object.fromEntries(added.filter(([, rows]) => rows !== 0));
}

async function outboxRowsOfBoth(): Promise<number> {
  return (await outboxRows(system.orderDatabase)) + (await outboxRows(system.inventoryDatabase));
}

/** Orders that have ended and whose reservations have not: the events that do it are under way. */
async function endedWithStock(): Promise<number> {
  const ended = await system.orderDatabase<{ id: string }[]>`
    select order_id as id
    from orders
    where tenant_id = 'demo'
      and state in ('SETTLED', 'CANCELLED', 'EXPIRED')`;
  const [row] = await system.inventoryDatabase<{ rows: number }[]>`
    select count(*)::int as rows
    from reservations
    where tenant_id = 'demo'
      and reservation_id = any(${ended.map(({ id }) => id)}::uuid[])
      and state = 'ACTIVE'`;
  return row?.rows ?? 0;
}

/** Asks until the same answer has come ten times in a row. */
async function untilStill<T>(ask: () => Promise<T>): Promise<T> {
  let last = "";
  let times = 0;
  return await until("the tables are still", ask, (answer) => {
    const text = JSON.stringify(answer);
    times = text === last ? times + 1 : 0;
    last = text;
    return times >= 10;
  });
}

for (const { name, prepare } of mutations) {
  test(`${name}: ten times at once is one effect and one answer; another content is refused`, async () => {
    const single = await prepare();
    const once = await rowsAddedBy(async () => void (await single.send(randomUUID(), "gRPC")));
    assert.notDeepEqual(once, {}, "it has no effect that this test could see");

    const requestId = randomUUID();
    const repeated = await prepare();
    let answers: string[] = [];
    const tenTimes = await rowsAddedBy(async () => {
      const protocols = Array.from({ length: TIMES }, (_, at) => PROTOCOLS[at % PROTOCOLS.length] ?? "gRPC");
      answers = await Promise.all(protocols.map((protocol) => repeated.send(requestId, protocol)));
    });
    assert.deepEqual(tenTimes, once);
    assert.deepEqual(new Set(answers).size, 1, answers.join("\n"));

    const later = await repeated.send(requestId, "JSON");
    assert.equal(later, answers[0]);

    const refused: Failure = await failureOf(repeated.sendOther(requestId));
    assert.deepEqual([refused.code, refused.reason], ["InvalidArgument", "REQUEST_ID_REUSED"]);
  });
}

test("an order that was refused is refused in the same words, and writes nothing more", async () => {
  const sku = await receive(system, 1, "refused");
  const request = { customerId: "ann", lines: [{ sku, quantity: 5 }], requestId: randomUUID() };
  const failures: Failure[] = [];
  const added = await rowsAddedBy(async () => {
    const calls = PROTOCOLS.map((protocol) => failureOf(system.over[protocol].orders.createOrder(request)));
    failures.push(...(await Promise.all(calls)));
  });
  // Where two instances worked at the order, its id is released too: a tombstone, which takes no stock.
  const { "inventory.reservations": tombstones = 0, ...rest } = added;
  assert(tombstones <= 1);
  assert.deepEqual(rest, {
    "order.order_history": 2,
    "order.order_lines": 1,
    "order.orders": 1,
    "order.requests": 1,
  });
  for (const failure of failures) assert.deepEqual(failure, failures[0]);
  assert.equal(failures[0]?.reason, "INSUFFICIENT_STOCK");
  assert.deepEqual(failures[0].shortages, [`${sku}@main: requested 5, available 1`]);
});

test("an adjustment that was refused without effect is judged anew under its request_id", async () => {
  const sku = await receive(system, 1, "judged-anew");
  const request = { changes: [{ sku, delta: -2 }], requestId: randomUUID() };
  const { code } = await failureOf(system.inventory.adjustStock(request));
  assert.notEqual(code, "InvalidArgument");
  await system.inventory.adjustStock({ changes: [{ sku, delta: 5 }] });
  const { movements } = await system.inventory.adjustStock(request);
  assert.equal(movements[0]?.onHandAfter, 4);
});

test("after all this, counters, ledger and reservations agree", () => assertConsistent(system));
