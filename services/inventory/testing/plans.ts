/**
 * Judges every statement that the service sends, as its connections plan it, on large tables: each must
 * go by an index, with the condition that makes it cheap.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import postgres from "postgres";
import { Registry } from "prom-client";
import { analyzeGrown, type Sql, uuidv7 } from "#libs/db";
import { testCall } from "#libs/testing";
import * as pb from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { createInventoryHandlers } from "../api.ts";
import { createChanges } from "../changes.ts";
import { createExpiry } from "../expiry.ts";
import { createStockMetrics } from "../metrics.ts";
import { connectStore, STORE_SETTINGS, UPKEEP_TIMEOUT_MS } from "../store/connect.ts";
import { createInventoryDatabase } from "./database.ts";
import { reservationRequest } from "./scene.ts";

/** What the condition of a scan must name, by the beginning of its index's name. */
const conditions: readonly [index: RegExp, columns: readonly string[]][] = [
  [/^items_key/, ["sku"]],
  // A tenant has few locations, so that reading all of them is as cheap.
  [/^locations_key/, ["tenant_id"]],
  [/^stock_levels_key/, ["sku"]],
  [/^movements_.*pkey/, ["sku"]],
  [/^balances_key/, ["sku"]],
  [/^adjustments_key/, ["adjustment_id"]],
  [/^reservations_key/, ["reservation_id"]],
  [/^reservations_by_create_time/, ["tenant_id"]],
  [/^reservations_by_owner/, ["left"]],
  [/^reservations_by_late_owner/, ["owner"]],
  [/^reservations_by_expire_time/, ["expire_time"]],
  // Tombstones only, of a day.
  [/^reservations_by_end_time/, []],
  [/^reservation_lines_key/, ["sku"]],
  [/^ended_reservations_.*pkey/, ["reservation_id"]],
  [/^ended_reservations_.*create_time/, ["tenant_id"]],
  [/^ended_reservations_.*tenant_id_owner/, ["owner"]],
  [/^ended_reservations_.*(owner|left)/, ["left"]],
  [/^requests_key/, ["request_id"]],
  [/^nudges_key/, ["due_second"]],
];

/** Lists begin at an end of their index, and these read a whole ledger or count a whole item on purpose. */
const unbounded =
  /^select sku, display_name|^select page\.sku|^select location_id, display_name|with steps as/;

/**
 * Lays `rows` rows into each table and returns the service's statements, each with what is wrong with its
 * plan.
 */
export async function judgePlans(rows: number): Promise<Map<string, readonly string[]>> {
  const database = await createInventoryDatabase();
  const statements = new Set<string>();
  const sql = postgres(database.url, {
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: STORE_SETTINGS,
    debug: (_connection, query) => statements.add(query.trim()),
  });
  // A million rows take longer than a service's connection may be silent.
  const upkeep = connectStore(database.url, "plans", UPKEEP_TIMEOUT_MS);
  const judged = new Map<string, readonly string[]>();
  try {
    await exercise(sql);
    const seen = [...statements].filter(
      (text) => /^\(?\s*(select|insert|update|delete|with)/.test(text) && !text.includes("pg_"),
    );
    await fill(upkeep, rows);
    for (const text of seen) {
      const [row] = await upkeep.unsafe<{ "QUERY PLAN": [{ Plan: Node }] }[]>(
        `explain (generic_plan, format json) ${text}`,
      );
      judged.set(text, row ? faultsOf(text, row["QUERY PLAN"][0].Plan) : ["no plan"]);
    }
  } finally {
    await Promise.all([sql.end(), upkeep.end()]);
    await database.drop();
  }
  return judged;
}

/** Does everything that a busy day does. */
async function exercise(pool: Sql): Promise<void> {
  const call = testCall();
  const changes = createChanges({
    sql: pool,
    publish: () => {},
    metrics: createStockMetrics(new Registry()),
  });
  const api = createInventoryHandlers({ sql: pool, ledgerSql: pool, changes });
  const { createItem, adjustStock, createReservation } = api;
  for (const sku of ["tea", "rum"]) await createItem(create(pb.CreateItemRequestSchema, { sku }), call);
  const changed = ["tea", "rum"].map((sku) => ({ sku, delta: 100, locationId: "main" }));
  const requestId = randomUUID();
  await adjustStock(create(pb.AdjustStockRequestSchema, { changes: changed, requestId }), call);
  const ids = [];
  for (const id of [uuidv7(), randomUUID(), randomUUID()]) {
    const fields = { reservationId: id, requestId: randomUUID() };
    const { reservation } = await createReservation(reservationRequest(fields), call);
    ids.push(reservation?.reservationId ?? "");
  }
  const [first = "", second = ""] = ids;
  const ttl = { seconds: 3_600n };
  await api.extendReservation(create(pb.ExtendReservationRequestSchema, { reservationId: first, ttl }), call);
  await api.commitReservation(create(pb.CommitReservationRequestSchema, { reservationId: first }), call);
  await api.releaseReservation(create(pb.ReleaseReservationRequestSchema, { reservationId: second }), call);
  await changes.reservation("demo", { kind: "release", reservationId: randomUUID(), party: "order" });
  await assert.rejects(createReservation(reservationRequest({ lines: [{ sku: "gin", quantity: 1 }] }), call));
  await api.checkStock(create(pb.CheckStockRequestSchema, { lines: [{ sku: "tea", quantity: 1 }] }), call);
  await api.getItem(create(pb.GetItemRequestSchema, { sku: "tea" }), call);
  await api.listItems(create(pb.ListItemsRequestSchema), call);
  await api.getStock(create(pb.GetStockRequestSchema, { sku: "tea" }), call);
  await api.listStock(create(pb.ListStockRequestSchema, { skus: ["tea"] }), call);
  await api.explainStock(create(pb.ExplainStockRequestSchema, { sku: "tea" }), call);
  const movements = { sku: "tea", pageSize: 1 };
  const page = await api.listMovements(create(pb.ListMovementsRequestSchema, movements), call);
  const pageToken = page.nextPageToken ?? "";
  await api.listMovements(create(pb.ListMovementsRequestSchema, { ...movements, pageToken }), call);
  await api.getReservation(create(pb.GetReservationRequestSchema, { reservationId: first }), call);
  const { ACTIVE, COMMITTED, RELEASED, EXPIRED, STATE_UNSPECIFIED } = pb.Reservation_State;
  for (const owner of ["", "till-1", `orders/${second}`]) {
    for (const state of [STATE_UNSPECIFIED, ACTIVE, COMMITTED, RELEASED, EXPIRED]) {
      await api.listReservations(create(pb.ListReservationsRequestSchema, { owner, state }), call);
    }
  }
  await api.verifyStock(create(pb.VerifyStockRequestSchema, { skus: ["tea"] }), call);
  const expiry = createExpiry({ sql: pool, changes, log: testCall().log });
  await expiry.expireDue("demo");
  await expiry.sweep();
}

type Node = {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly Plans?: readonly Node[];
};

function scansOf(node: Node): Node[] {
  const below = (node.Plans ?? []).flatMap(scansOf);
  return /Scan/.test(node["Node Type"]) && (node["Relation Name"] ?? node["Index Name"])
    ? [node, ...below]
    : below;
}

function faultsOf(statement: string, plan: Node): string[] {
  return scansOf(plan).flatMap((scan) => {
    const index = scan["Index Name"];
    if (index === undefined) return [`${scan["Node Type"]} of ${scan["Relation Name"]}`];
    const [, columns] = conditions.find(([pattern]) => pattern.test(index)) ?? [];
    if (!columns) return [`an index that nobody expected: ${index}`];
    if (unbounded.test(statement)) return [];
    return columns
      .filter((column) => !scan["Index Cond"]?.includes(column))
      .map((column) => `${index} without ${column}: ${scan["Index Cond"]}`);
  });
}

async function fill(sql: Sql, rows: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`
      insert into items (tenant_id, sku, display_name, reorder_point, state, create_time, update_time)
      select 'demo', 'sku-' || n, '', 0, 'ACTIVE', now(), now()
      from generate_series(1, ${rows}) as n`;
    await tx`
      insert into stock_levels (
        tenant_id, sku, location_id, on_hand, reserved, version, archived, reorder_point, update_time
      )
      select 'demo', 'sku-' || n, 'main', 100, 1, 2, false, 0, now()
      from generate_series(1, ${rows}) as n`;
    await tx`
      insert into movements
      select 'demo', 'sku-' || n, 'main', version, 'RESERVE', 0, 1, 100, 1, gen_random_uuid(), now()
      from generate_series(1, ${rows}) as n
      cross join generate_series(1, 2) as version`;
    await tx`
      insert into reservations
      select
        'demo', gen_random_uuid(), 'ACTIVE', 'till-' || n % 100, '[]', now(), now() + interval '1 day', null
      from generate_series(1, ${rows}) as n`;
    await tx`
      insert into reservation_lines
      select 'demo', 'sku-' || n % 1000, 'main', gen_random_uuid(), 1
      from generate_series(1, ${rows}) as n`;
    await tx`
      insert into ended_reservations
      select 'demo', gen_random_uuid(), 'COMMITTED', 'till-' || n % 100, '[]', now(), null, now()
      from generate_series(1, ${rows}) as n`;
    await tx`
      insert into requests
      select 'demo', gen_random_uuid(), '', '', null, now()
      from generate_series(1, ${rows}) as n`;
  });
  await analyzeGrown(sql);
}
