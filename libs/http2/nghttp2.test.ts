import assert from "node:assert/strict";
import { type OutgoingHttpHeaders, sensitiveHeaders } from "node:http2";
import { test } from "node:test";
import fc from "fast-check";
import { HeaderDecoder } from "./header-decoder.ts";
import type { HeaderField } from "./header-field.ts";
import { staticTable } from "./static-table.ts";
import { openNghttp2Peer } from "./testing/nghttp2-peer.ts";

const LIMITS = { tableBytes: 4_096, listBytes: 1 << 20 };

/** A value as a request shows it. */
function stripped(value: string): string {
  return value.replaceAll(/^[ \t]+|[ \t]+$/g, "");
}

function linesOf(fields: readonly HeaderField[] | undefined): string[] | undefined {
  return fields?.map(({ name, value }) => `${name}: ${value}`);
}

const OCTETS = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1));
const CONNECTION_FIELDS = /^(connection|proxy-connection|keep-alive|transfer-encoding|upgrade|te|host)$/;
const anyValue = fc.oneof(
  fc.constantFrom("", "application/grpc", "0190163d-8694-739b-aea5-966c26f8ad90"),
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef-/ ;=".split("")) }),
  fc.string({ unit: fc.constantFrom(...OCTETS), maxLength: 300, size: "max" }),
);
const anyName = fc.oneof(
  fc.constantFrom("x-request-id", "user-agent", "authorization", "cookie", "accept", "grpc-timeout"),
  fc
    .string({ unit: fc.constantFrom(..."abcxyz019-_.!#$%&'*+^`|~".split("")), minLength: 1, maxLength: 40 })
    .filter((name) => !CONNECTION_FIELDS.test(name)),
);
const anyHeaders = fc.record({
  pseudo: fc.record({
    ":method": fc.constantFrom("GET", "POST", "PUT"),
    ":scheme": fc.constantFrom("http", "https"),
    ":authority": fc.constantFrom("localhost", "order.local:8080"),
    ":path": fc.oneof(fc.constantFrom("/", "/holdfast.order.v1.OrderService/PlaceOrder"), fc.webPath()),
  }),
  others: fc.dictionary(anyName, anyValue, { maxKeys: 30 }),
  isSensitive: fc.boolean(),
});

type AnyHeaders = typeof anyHeaders extends fc.Arbitrary<infer Headers> ? Headers : never;

function outgoing({ pseudo, others, isSensitive }: AnyHeaders) {
  const headers: OutgoingHttpHeaders = { ...pseudo, ":path": pseudo[":path"] || "/", ...others };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${stripped(String(value))}`);
  const pseudoFirst = lines.toSorted((a, b) => Number(b.startsWith(":")) - Number(a.startsWith(":")));
  const sensitive = isSensitive ? Object.keys(others).slice(0, 2) : [];
  return { headers: { ...headers, [sensitiveHeaders]: sensitive }, lines: pseudoFirst };
}

test("what nghttp2 encodes on one connection is decoded, with a table of any size", async () => {
  const anyTable = fc.constantFrom(0, 40, 200, 1_000, 4_096, 65_536);
  let indexed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyHeaders, { minLength: 1, maxLength: 12, size: "max" }),
      anyTable,
      fc.boolean(),
      async (requests, tableBytes, isFirstBeforeSettings) => {
        const peer = openNghttp2Peer();
        const decoder = new HeaderDecoder({ ...LIMITS, tableBytes });
        try {
          if (!isFirstBeforeSettings) await peer.announceTables(tableBytes);
          for (const [index, request] of requests.entries()) {
            const { headers, lines } = outgoing(request);
            const block = await peer.encode(headers);
            assert.deepEqual(linesOf(decoder.decode(block)), lines);
            if (block.some((octet) => octet >= 0xbe)) indexed += 1;
            if (index === 0 && isFirstBeforeSettings) await peer.announceTables(tableBytes);
          }
        } finally {
          peer.close();
        }
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(indexed > 20, `${indexed} blocks referred to others`);
});

test("every octet but NUL comes through nghttp2, in Huffman code and plain, spaces inside only", async () => {
  const peer = openNghttp2Peer();
  const decoder = new HeaderDecoder(LIMITS);
  try {
    for (const octet of OCTETS) {
      for (const value of [`${"a".repeat(40)}${octet}${"e".repeat(40)}`, octet.repeat(8)]) {
        const fields = decoder.decode(await peer.encode({ "x-octet": value }));
        assert.equal(fields?.at(-1)?.value, stripped(value), JSON.stringify(octet));
      }
    }
  } finally {
    peer.close();
  }
});

test("a table that shrank and grew between two requests begins anew, after two updates", async () => {
  const peer = openNghttp2Peer();
  const decoder = new HeaderDecoder(LIMITS);
  try {
    decoder.decode(await peer.encode({ "x-first": "1" }));
    await peer.announceTables(0, 4_096);
    const block = await peer.encode({ "x-first": "1" });
    assert.equal(block.subarray(0, 4).toString("hex"), "203fe11f");
    assert.deepEqual(linesOf(decoder.decode(block))?.at(-1), "x-first: 1");
  } finally {
    peer.close();
  }
});

test("a block of several frames is decoded as one", async () => {
  const peer = openNghttp2Peer();
  const value = "~".repeat(40_000);
  try {
    const block = await peer.encode({ "x-long": value });
    assert.ok(block.length > 32_768);
    assert.equal(new HeaderDecoder(LIMITS).decode(block)?.at(-1)?.value, value);
  } finally {
    peer.close();
  }
});

test("the names of the static table are those that nghttp2 has at the same indexes", async () => {
  const peer = openNghttp2Peer();
  try {
    await peer.announceTables(0);
    for (const [index, { name }] of staticTable.entries()) {
      // Requests have no status, and node:http2 sends no transfer-encoding.
      if (name.startsWith(":") || name === "transfer-encoding") continue;
      const block = await peer.encode({ [name]: "v" });
      // Without a table each is a literal: 15 in the first octet, the rest of its name's index, "v" in plain.
      assert.equal((block[block.length - 4] ?? 0) & 0x0f, 15, name);
      assert.deepEqual([...block.subarray(-3)], [index + 1 - 15, 1, 0x76], name);
    }
  } finally {
    peer.close();
  }
});
