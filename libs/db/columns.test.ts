import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { createTestDatabase, type TestDatabase } from "#libs/testing";
import { booleans, bytes, names, numbers, texts, times, uuids } from "./index.ts";

let folder: string;
let database: TestDatabase;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "columns-"));
  await writeFile(join(folder, "0001_nothing.sql"), "select 1;");
  database = await createTestDatabase(folder);
});

after(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});

// Postgres has no place for NUL, and UTF-8 none for half a surrogate pair.
const anyText = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", ""));
const someTime = fc.integer({ min: 0, max: 4_102_444_800_000 });
const maybe = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined });

// What the database reads in a column, as text; null is told as undefined.
async function read(column: string, type: string, shape: string): Promise<(string | undefined)[]> {
  const list = `unnest($1::${type}[]) with ordinality as one (value, place)`;
  const rows = await database.sql.unsafe<{ value: string | null }[]>(
    `select ${shape} as value from ${list} order by place`,
    [column],
  );
  return rows.map(({ value }) => value ?? undefined);
}

describe("the database reads", () => {
  async function reads<Value>(
    values: fc.Arbitrary<Value>,
    column: (values: Value[]) => string,
    type: string,
    shape: string,
    told: (value: Value) => string | undefined,
  ): Promise<void> {
    const property = fc.asyncProperty(fc.array(values, { maxLength: 20 }), async (list) => {
      assert.deepEqual(await read(column(list), type, shape), list.map(told));
    });
    await fc.assert(property, { numRuns: 50 });
  }

  test("any texts as they were, the word null and quotes among them", async () => {
    const tricky = fc.constantFrom("null", "NULL", "", '"', "\\", "{", "}", ",", " a ", 'a"b\\c');
    await reads(maybe(fc.oneof(anyText, tricky)), texts, "text", "value", (text) => text);
  });

  test("names as they were, the word null among them", async () => {
    const name = fc.oneof(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/), fc.constant("null"));
    await reads(name, names, "text", "value", (text) => text);
  });

  test("ids as they were", async () => {
    await reads(maybe(fc.uuid()), uuids, "uuid", "value::text", (id) => id);
  });

  test("numbers as they were, those of 64 bits too", async () => {
    const number = fc.oneof(fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
    await reads(maybe(number), numbers, "bigint", "value::text", (value) => value?.toString());
  });

  test("truth values as they were", async () => {
    await reads(fc.boolean(), booleans, "boolean", "value::text", String);
  });

  test("bytes as they were, also of a part of a buffer", async () => {
    const part = fc.uint8Array({ maxLength: 40 }).map((all) => all.subarray(all.length >> 1));
    const told = (value: Uint8Array | undefined) => value && Buffer.from(value).toString("hex");
    await reads(maybe(part), bytes, "bytea", "encode(value, 'hex')", told);
  });

  test("times as they were, repeated ones too", async () => {
    const time = fc.oneof(someTime, fc.constantFrom(0, 1_700_000_000_123));
    const shape = "(extract(epoch from value) * 1000)::bigint::text";
    await reads(maybe(time), times, "timestamptz", shape, (value) => value?.toString());
  });
});
