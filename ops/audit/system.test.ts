import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { inTransaction, uuidv7 } from "#libs/db";
import { insertOutbox, toOutbox } from "#libs/events";
import { OrderSettledSchema } from "#proto/holdfast/order/v1/events_pb.ts";
import { createScene, endReservation, move, reserve, type Scene, stockItem, writeOrder } from "../testing.ts";
import { reportLines } from "./report.ts";
import { type AuditReport, auditSystem } from "./system.ts";

let scene: Scene;
const limits = { eventMs: 1_500 };

before(async () => {
  scene = await createScene();
});
after(async () => {
  await scene.drop();
});

async function look(): Promise<AuditReport> {
  return await auditSystem({ ...scene.addresses, limits });
}

/** The findings that are new, as `KIND subject`. */
async function newSince(known: AuditReport): Promise<string[]> {
  const old = new Set(known.findings.map(({ kind, subject }) => `${kind} ${subject}`));
  const report = await look();
  return report.findings
    .map(({ kind, subject }) => `${kind} ${subject}`)
    .filter((one) => !old.has(one))
    .sort();
}

test("a system in which everything agrees is clean", async () => {
  await stockItem(scene, "CLEAN", 100);
  const quantity = 2;
  const pending = await writeOrder(scene, { state: "PENDING", sku: "CLEAN", quantity });
  await reserve(scene, pending, "CLEAN", quantity);
  const settled = await writeOrder(scene, { state: "SETTLED", sku: "CLEAN", quantity });
  await reserve(scene, settled, "CLEAN", quantity);
  await endReservation(scene, settled, "CLEAN", quantity, "COMMITTED");
  for (const state of ["CANCELLED", "EXPIRED"] as const) {
    const orderId = await writeOrder(scene, { state, sku: "CLEAN", quantity });
    await reserve(scene, orderId, "CLEAN", quantity);
    await endReservation(scene, orderId, "CLEAN", quantity, "RELEASED");
  }
  const reason = "INSUFFICIENT_STOCK";
  await writeOrder(scene, { state: "REJECTED", sku: "CLEAN", quantity: 1_000, reason });
  await writeOrder(scene, { state: "RESERVING", sku: "CLEAN", quantity, unchangedMs: 1_000 });

  const report = await look();
  assert.deepEqual(report.findings, []);
  assert.deepEqual(
    {
      orders: report.orders,
      reservations: report.reservations,
      levels: report.levels,
      movements: report.movements,
    },
    { orders: 6, reservations: 4, levels: 1, movements: 8 },
  );
  assert.equal(reportLines(report).at(-1), "All is well.");
});

test("an order without a reservation and a reservation without an order are named", async () => {
  await stockItem(scene, "LONE", 10);
  const known = await look();
  const order = await writeOrder(scene, { state: "PENDING", sku: "LONE", quantity: 1 });
  const reservation = uuidv7();
  await reserve(scene, reservation, "LONE", 1);
  assert.deepEqual(await newSince(known), [
    `ORDER_MISSING order demo/${reservation}`,
    `RESERVATION_MISSING order demo/${order}`,
  ]);
});

test("a paid order whose stock was given back is named, one whose event waits is under way", async () => {
  await stockItem(scene, "PAID", 10);
  const known = await look();
  const wrong = await writeOrder(scene, { state: "SETTLED", sku: "PAID", quantity: 1 });
  await reserve(scene, wrong, "PAID", 1);
  await endReservation(scene, wrong, "PAID", 1, "RELEASED");
  const lost = await writeOrder(scene, { state: "SETTLED", sku: "PAID", quantity: 1 });
  await reserve(scene, lost, "PAID", 1);
  const waiting = await writeOrder(scene, { state: "SETTLED", sku: "PAID", quantity: 1 });
  await reserve(scene, waiting, "PAID", 1);
  const event = create(OrderSettledSchema, { orderId: waiting });
  const message = toOutbox(OrderSettledSchema, event, { tenant: "demo", mandatory: true });
  await inTransaction(scene.order, (tx) => insertOutbox(tx, [message]));

  assert.deepEqual(
    await newSince(known),
    [`STATES_DISAGREE order demo/${wrong}`, `STATES_DISAGREE order demo/${lost}`].sort(),
  );
  const report = await look();
  assert(report.underWay.some(({ subject }) => subject === `order demo/${waiting}`));
  assert(!report.findings.some(({ subject }) => subject === `order demo/${waiting}`));
  await scene.order`delete from outbox`;
});

test("what comes right while the audit looks is not told", async () => {
  await stockItem(scene, "LATE", 10);
  const known = await look();
  const order = await writeOrder(scene, { state: "SETTLED", sku: "LATE", quantity: 1, unchangedMs: 0 });
  await reserve(scene, order, "LATE", 1);
  // The event arrives half-way to the limit.
  const arrival = setTimeout(() => void endReservation(scene, order, "LATE", 1, "COMMITTED"), 700);
  const found = await newSince(known);
  clearTimeout(arrival);
  assert.deepEqual(found, []);
});

test("orders whose time nobody minds are named", async () => {
  await stockItem(scene, "TIME", 10);
  const known = await look();
  const reserving = await writeOrder(scene, { state: "RESERVING", sku: "TIME", quantity: 1 });
  const overdue = await writeOrder(scene, { state: "PENDING", sku: "TIME", quantity: 1, overdueMs: 60_000 });
  await reserve(scene, overdue, "TIME", 1);
  assert.deepEqual(await newSince(known), [
    `OVERDUE order demo/${overdue}`,
    `RESERVING_TOO_LONG order demo/${reserving}`,
  ]);
});

test("a counter changed by hand, a row of the ledger that is gone and a stray line are named", async () => {
  for (const sku of ["COUNTER", "GAP", "STRAY", "GONE"]) {
    await stockItem(scene, sku, 10);
    await move(scene, sku, "ADJUST", 5, 0, randomUUID());
    await move(scene, sku, "ADJUST", -3, 0, randomUUID());
  }
  const known = await look();
  await scene.inventory`update stock_levels set on_hand = on_hand + 1 where sku = 'COUNTER'`;
  await scene.inventory`delete from movements where sku = 'GAP' and version = 2`;
  await scene.inventory`delete from stock_levels where sku = 'GONE'`;
  await scene.inventory`
    insert into reservation_lines (tenant_id, sku, location_id, reservation_id, quantity)
    values ('demo', 'STRAY', 'main', ${uuidv7()}, 1)`;
  assert.deepEqual(await newSince(known), [
    "COUNTERS_DISAGREE stock demo/COUNTER/main",
    "COUNTERS_DISAGREE stock demo/GONE/main",
    "LEDGER_BROKEN stock demo/GAP/main",
    "RESERVED_DISAGREES stock demo/STRAY/main",
  ]);
});

test("an outbox that does not drain is named with its oldest messages", async () => {
  const known = await look();
  const outboxId = uuidv7();
  const body = Buffer.from(toBinary(OrderSettledSchema, create(OrderSettledSchema, {})));
  await scene.inventory`
    insert into outbox (tenant_id, outbox_id, type, body, mandatory, create_time, next_attempt_time)
    values ('demo', ${outboxId}, 'some.Event', ${body}, true, now() - interval '1 minute', now())`;
  assert.deepEqual(await newSince(known), ["OUTBOX_STUCK outbox of inventory"]);
  const stuck = (await look()).findings.find(({ kind }) => kind === "OUTBOX_STUCK");
  assert.match(stuck?.detail ?? "", new RegExp(outboxId));
});
