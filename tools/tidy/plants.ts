/**
 * For each rule of the house a planted violation, which it must see, and its lawful neighbour, which it must
 * not.
 */

/** Files by path; `at` is where the violation stands. */
export type Plant = { broken: Record<string, string>; at: string; kept: Record<string, string> };

const lines = (...texts: string[]) => `${texts.join("\n")}\n`;
const body = (length: number) => Array.from({ length }, () => "  a;");
const DOMAIN = "services/order/domain/order.ts";
const API = "services/order/api.ts";
const STORE = "services/order/store.ts";
const FIRST = "services/order/migrations/0001_orders.sql";
const SECOND = "services/order/migrations/0002_history.sql";
const SEALED = "tools/migrations.sealed";
const SEAL_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHERS_TABLE = "services/inventory/migrations/0001_stock.sql";
const ROOMS = ["README.md", "main.ts", "config.ts", "api.ts", "events.ts", "timers.ts", "convert.ts"];
const ALL_ROOMS = [...ROOMS, "store/orders.ts", "domain/order.ts", "migrations/0001_orders.sql"];
const rooms = (names: string[]) => Object.fromEntries(names.map((name) => [`services/order/${name}`, ""]));

/** The plants by the name of their rule; a rule may have several. */
export const plants: Record<string, Plant[]> = {
  "file-length": [
    { broken: { [API]: "let a;\n".repeat(400) }, at: `${API}:400`, kept: { [API]: "let a;\n".repeat(399) } },
  ],
  "line-length": [
    {
      broken: { [API]: lines("", `const a = ${"1".repeat(101)};`) },
      at: `${API}:2`,
      kept: {
        [API]: lines(`const a = ${"1".repeat(99)};`),
        "services/order/api.test.ts": lines(`  ["${"a row of a table ".repeat(9)}"],`),
      },
    },
  ],
  "function-length": [
    {
      broken: {
        [API]: lines("function long(a: { b: string }): { c: number } {", ...body(68), "}"),
      },
      at: `${API}:1`,
      kept: {
        [API]: lines("function outer() {", ...body(40), "  function inner() {", ...body(40), "  }", "}"),
      },
    },
  ],
  "file-names": [
    { broken: { "libs/db/utils.ts": "" }, at: "libs/db/utils.ts:1", kept: { "libs/db/database.ts": "" } },
    { broken: { "libs/common/a.ts": "" }, at: "libs/common/a.ts:1", kept: { "libs/commons/a.ts": "" } },
    { broken: { "libs/db/pool-manager.ts": "" }, at: "libs/db/pool-manager.ts:1", kept: {} },
  ],
  "service-rooms": [
    { broken: rooms(ALL_ROOMS.slice(1)), at: "services/order/:1", kept: rooms(ALL_ROOMS) },
    {
      broken: rooms([...ALL_ROOMS, "controllers/order.ts"]),
      at: "services/order/controllers/:1",
      kept: rooms([...ALL_ROOMS, "api.test.ts"]),
    },
  ],
  "nothing-left-to-do": [
    {
      broken: { [API]: lines("const a = 1;", "// TODO: the rest") },
      at: `${API}:2`,
      kept: { [API]: 'const a = "TODO";' },
    },
    { broken: { [FIRST]: "-- FIXME" }, at: `${FIRST}:1`, kept: { [FIRST]: "-- fixed" } },
  ],
  "no-machine-paths": [
    {
      broken: { "README.md": ["", "home", "ann", "holdfast"].join("/") },
      at: "README.md:1",
      kept: { "README.md": "https://example.com/home/ann and the homes of others" },
    },
  ],
  "explicit-imports": [
    {
      broken: { [API]: 'import { a } from "./store";' },
      at: `${API}:1`,
      kept: { [API]: 'import { a } from "./store.ts";\nimport { b } from "#libs/db";' },
    },
    { broken: { [API]: 'const a = await import("./store.js");' }, at: `${API}:1`, kept: {} },
  ],
  "no-double-assertion": [
    {
      broken: { [API]: "const a = b as\n  unknown as string;" },
      at: `${API}:1`,
      kept: { [API]: "const a = b as unknown; // never as unknown as string" },
    },
  ],
  "erasable-syntax": [
    { broken: { [API]: "enum State { A }" }, at: `${API}:1`, kept: { [API]: "const a = { enum: 1 };" } },
    { broken: { [API]: "namespace A { }" }, at: `${API}:1`, kept: { [API]: "const a = b.namespace;" } },
    { broken: { [API]: "\n@injectable() class A {}" }, at: `${API}:2`, kept: { [API]: "// @param a" } },
  ],
  "no-inheritance": [
    {
      broken: { [API]: "export class A<T> extends Base<T> {}" },
      at: `${API}:1`,
      kept: {
        [API]: "class A extends Error {}\nclass B extends rpc.RpcError {}\nclass C { a<T extends D>() {} }",
      },
    },
  ],
  "documented-exports": [
    {
      broken: { [API]: "export async function a() {}" },
      at: `${API}:1`,
      kept: {
        [API]: "/** Promises a. */\nexport async function a() {}\nfunction b() {}\nexport const c = 1;",
      },
    },
    {
      broken: { [API]: "/** Too far off. */\n\nexport const a = (b: string) => b;" },
      at: `${API}:3`,
      kept: {
        [API]: lines(
          "/** Promises a. */",
          "export function a(b: string): string;",
          "export function a(b: number): number;",
        ),
      },
    },
  ],
  "reasoned-suppressions": [
    {
      broken: { [API]: "// oxlint-disable-next-line eslint/no-console\nconsole.log(1);" },
      at: `${API}:1`,
      kept: {
        [API]: "// oxlint-disable-next-line eslint/no-console -- the process ends here\nconsole.log(1);",
      },
    },
  ],
  "tests-do-not-sleep": [
    {
      broken: { "libs/db/pool.test.ts": "await new Promise((resolve) => setTimeout(resolve, 50));" },
      at: "libs/db/pool.test.ts:1",
      kept: { "libs/db/pool.ts": "await setTimeout(50);" },
    },
    {
      broken: { "libs/db/pool.test.ts": "\nawait setTimeout(50);" },
      at: "libs/db/pool.test.ts:2",
      kept: { "libs/db/pool.test.ts": "const timer = setTimeout(fail, 50);" },
    },
  ],
  "domain-knows-itself": [
    {
      broken: { [DOMAIN]: 'import { a } from "../store.ts";' },
      at: `${DOMAIN}:1`,
      kept: { [DOMAIN]: 'import { a } from "./line.ts";\nimport { DomainError } from "#libs/reasons";' },
    },
    { broken: { [DOMAIN]: '\nimport { a } from "#proto/a_pb.ts";' }, at: `${DOMAIN}:2`, kept: {} },
    {
      broken: { [DOMAIN]: 'import { test } from "node:test";' },
      at: `${DOMAIN}:1`,
      kept: { "services/order/domain/order.test.ts": 'import { test } from "node:test";' },
    },
  ],
  "domain-is-pure": [
    {
      broken: { [DOMAIN]: "const now = Date.now();" },
      at: `${DOMAIN}:1`,
      kept: { [DOMAIN]: 'type A = { at: Date };\nconst a = new Date(b); const c = "Date.now()";' },
    },
    { broken: { [DOMAIN]: "const now = new Date();" }, at: `${DOMAIN}:1`, kept: {} },
    {
      broken: { [DOMAIN]: "const a = Math.random();" },
      at: `${DOMAIN}:1`,
      kept: { [DOMAIN]: "Math.max(1, 2);" },
    },
    {
      broken: { [DOMAIN]: "crypto.randomUUID();" },
      at: `${DOMAIN}:1`,
      kept: { [DOMAIN]: "order.process();" },
    },
    { broken: { [DOMAIN]: "async function a() {}" }, at: `${DOMAIN}:1`, kept: {} },
  ],
  "services-keep-apart": [
    {
      broken: { [API]: 'import { a } from "../inventory/store.ts";' },
      at: `${API}:1`,
      kept: {
        [API]: lines(
          'import { a } from "./store.ts";',
          'import { b } from "#proto/holdfast/inventory/v1/inventory_pb.ts";',
          'import { c } from "#libs/db";',
        ),
      },
    },
    { broken: { [API]: 'import { a } from "../../stack/system.ts";' }, at: `${API}:1`, kept: {} },
  ],
  "libs-know-no-service": [
    {
      broken: { "libs/db/a.ts": 'import { a } from "../../services/order/store.ts";' },
      at: "libs/db/a.ts:1",
      kept: { "libs/db/a.ts": 'import { a } from "#libs/reasons";' },
    },
    {
      broken: { "libs/rpc/a.ts": 'import { a } from "#proto/holdfast/order/v1/order_pb.ts";' },
      at: "libs/rpc/a.ts:1",
      kept: {
        "libs/rpc/a.ts": 'import { a } from "#proto/holdfast/error/v1/reason_pb.ts";',
        "libs/rpc/a.test.ts": 'import { a } from "#proto/holdfast/order/v1/order_pb.ts";',
      },
    },
  ],
  "libraries-have-one-door": [
    {
      broken: { "libs/db/a.ts": 'import { a } from "../rpc/call.ts";' },
      at: "libs/db/a.ts:1",
      kept: { "libs/db/a.ts": 'import { a } from "./pool.ts";' },
    },
    {
      broken: { [STORE]: 'import { a } from "#libs/testing";' },
      at: `${STORE}:1`,
      kept: { "services/order/testing.ts": 'import { a } from "#libs/testing";' },
    },
  ],
  "words-of-the-design": [
    {
      broken: { [API]: "const heldUnits = 1;" },
      at: `${API}:1`,
      kept: { [API]: 'const holdfast = threshold; // what it holds\nconst a = "held";' },
    },
    {
      broken: { [STORE]: "await sql`\n  select order_status from orders`;" },
      at: `${STORE}:2`,
      kept: { "libs/rpc/http.ts": "const status = response.status;" },
    },
    {
      broken: { [FIRST]: "create table\n  products (a text);" },
      at: `${FIRST}:2`,
      kept: { [FIRST]: "-- No products here.\ncreate table items (production text default 'product');" },
    },
    {
      broken: { "proto/holdfast/order/v1/a.proto": "message Allocation {}" },
      at: "proto/holdfast/order/v1/a.proto:1",
      kept: { "proto/holdfast/order/v1/a.proto": "// An allocation.", "libs/db/a.ts": "Buffer.alloc(1);" },
    },
    { broken: { [API]: "deductStock();" }, at: `${API}:1`, kept: {} },
  ],
  "tenant-is-the-callers": [
    {
      broken: { "proto/holdfast/order/v1/a.proto": "message A {\n  string tenant_id = 1;\n}" },
      at: "proto/holdfast/order/v1/a.proto:2",
      kept: { "proto/holdfast/order/v1/a.proto": "// The tenant's order.\nmessage A {}" },
    },
  ],
  "sql-in-the-store": [
    {
      broken: { [API]: "await tx`select 1`;" },
      at: `${API}:1`,
      kept: { [STORE]: "await tx`select 1`;", [API]: "log(`with ${count} lines`);" },
    },
    { broken: { [API]: "\nconst a = sql<Row[]>`and b = 1`;" }, at: `${API}:2`, kept: {} },
    { broken: { [API]: "run(`insert into orders values (1)`);" }, at: `${API}:1`, kept: {} },
  ],
  "plain-sql": [
    {
      broken: { [FIRST]: "create table a ();\ncreate trigger b after insert on a;" },
      at: `${FIRST}:2`,
      kept: {
        [FIRST]: "-- There is no trigger and no bigserial here.\ncreate table a (serial_number text);",
      },
    },
    {
      broken: { [STORE]: "sql`\n  select pg_advisory_lock(1)`;" },
      at: `${STORE}:2`,
      kept: { "libs/db/migrate.ts": "sql`\n  select pg_advisory_lock(1)`;" },
    },
    { broken: { [STORE]: "sql`notify orders`;" }, at: `${STORE}:1`, kept: {} },
    { broken: { [FIRST]: "create table a (id bigserial);" }, at: `${FIRST}:1`, kept: {} },
    { broken: { [FIRST]: "create function a() returns int language plpgsql;" }, at: `${FIRST}:1`, kept: {} },
  ],
  "lower-case-sql": [
    {
      broken: { [STORE]: "sql`\n  select a\n  FROM b`;" },
      at: `${STORE}:3`,
      kept: { [STORE]: "sql`select 'FROM' -- WHERE\n from b`;" },
    },
  ],
  "tables-are-their-services": [
    {
      broken: {
        [OTHERS_TABLE]: "create table stock_levels ();",
        [STORE]: "sql`select 1\n from stock_levels`;",
      },
      at: `${STORE}:2`,
      kept: {
        [OTHERS_TABLE]: "create table outbox ();",
        [FIRST]: "create table outbox ();",
        [STORE]: "sql`select 1 from outbox`;",
      },
    },
  ],
  "migrations-in-order": [
    { broken: { [SECOND]: "" }, at: `${SECOND}:1`, kept: { [SECOND]: "", [FIRST]: "" } },
    {
      broken: { "services/order/migrations/1-orders.sql": "" },
      at: "services/order/migrations/1-orders.sql:1",
      kept: {},
    },
  ],
  "migrations-are-sealed": [
    {
      broken: { [FIRST]: "edited", [SEALED]: `${SEAL_OF_NOTHING}  ${FIRST}\n` },
      at: `${FIRST}:1`,
      kept: { [FIRST]: "", [SEALED]: `${SEAL_OF_NOTHING}  ${FIRST}\n` },
    },
    { broken: { [FIRST]: "" }, at: `${FIRST}:1`, kept: {} },
    { broken: { [SEALED]: `${SEAL_OF_NOTHING}  ${FIRST}\n` }, at: `${FIRST}:1`, kept: {} },
  ],
};
