import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CompressionError, HeaderDecoder } from "./header-decoder.ts";
import type { HeaderField } from "./header-field.ts";
import { staticTable } from "./static-table.ts";

const LIMITS = { tableBytes: 4_096, listBytes: 1 << 20 };

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

function linesOf(fields: readonly HeaderField[] | undefined): string[] | undefined {
  return fields?.map(({ name, value }) => `${name}: ${value}`);
}

function isCompressionError(error: unknown): boolean {
  return error instanceof CompressionError;
}

// RFC 7541, Appendix C: the requests and answers of one connection each, in octets and in words.
const URL = "https://www.example.com";
const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const REQUESTS = [
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
  [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
  ],
];
const ANSWERS = [
  [":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", `location: ${URL}`],
  [":status: 307", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", `location: ${URL}`],
  [
    ":status: 200",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
    `location: ${URL}`,
    "content-encoding: gzip",
    `set-cookie: ${COOKIE}`,
  ],
];
const CONNECTIONS = [
  {
    section: "C.3",
    lists: REQUESTS,
    blocks: [
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
  },
  {
    section: "C.4",
    lists: REQUESTS,
    blocks: [
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
  },
  // These two have a table of 256 bytes by agreement; here the first block begins by saying so.
  {
    section: "C.5",
    lists: ANSWERS,
    blocks: [
      `3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133
       3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      "4803 3330 37c1 c0bf",
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
       7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
       6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
    ],
  },
  {
    section: "C.6",
    lists: ANSWERS,
    blocks: [
      `3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
       29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
      "4883 640e ffc1 c0bf",
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
       e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ],
  },
].map(({ blocks, ...rest }) => ({
  ...rest,
  blocks: blocks.map((block) => hex(block.replaceAll(/\s/g, ""))),
}));

test("the fields of RFC 7541, Appendix C.2 are decoded, and only the first is indexed", () => {
  for (const [block, line, joins] of [
    ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header", true],
    ["040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", false],
    ["1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", false],
    ["82", ":method: GET", false],
  ] as const) {
    const decoder = new HeaderDecoder(LIMITS);
    assert.deepEqual(linesOf(decoder.decode(hex(block))), [line]);
    if (joins) assert.deepEqual(linesOf(decoder.decode(hex("be"))), [line]);
    else assert.throws(() => decoder.decode(hex("be")), isCompressionError);
  }
});

test("the connections of RFC 7541, Appendix C.3 to C.6 are decoded", () => {
  for (const { section, lists, blocks } of CONNECTIONS) {
    const decoder = new HeaderDecoder(LIMITS);
    for (const [index, block] of blocks.entries()) {
      assert.deepEqual(linesOf(decoder.decode(block)), lists[index], `${section}.${index + 1}`);
    }
  }
});

test("a block that is cut off is either the fields before the cut or an error", () => {
  for (const { section, lists, blocks } of CONNECTIONS) {
    for (const [index, block] of blocks.entries()) {
      const decoded: number[] = [];
      for (let end = 0; end <= block.length; end += 1) {
        const decoder = new HeaderDecoder(LIMITS);
        for (const before of blocks.slice(0, index)) decoder.decode(before);
        try {
          const fields = decoder.decode(block.subarray(0, end));
          assert.deepEqual(linesOf(fields), lists[index]?.slice(0, fields?.length));
          decoded.push(fields?.length ?? -1);
        } catch (error) {
          assert.ok(isCompressionError(error), `${section}.${index + 1} cut at ${end}: ${String(error)}`);
        }
      }
      // One cut before each field and one behind the last, and around the update that begins a connection.
      const cuts = Array.from({ length: (lists[index]?.length ?? 0) + 1 }, (_, count) => count);
      assert.deepEqual(decoded, block[0] === 0x3f ? [0, ...cuts] : cuts);
    }
  }
});

test("each index up to 61 is that of the static table", () => {
  const all = Buffer.from(staticTable.map((_, index) => 0x80 | (index + 1)));
  const decoder = new HeaderDecoder(LIMITS);
  decoder.decode(hex("4001610162"));
  assert.deepEqual(decoder.decode(all), staticTable);
});

test("a table has room for as many of the smallest entries as its bytes allow", () => {
  for (const [tableBytes, count] of [
    [4_096, 128],
    [5_000, 156],
    [65_536, 2_048],
  ] as const) {
    const decoder = new HeaderDecoder({ ...LIMITS, tableBytes });
    decoder.decode(integer(0x20, 0x1f, tableBytes));
    const added = Array.from({ length: count + 1 }, () => decoder.decode(hex("400000"))?.[0]).toReversed();
    for (let age = 0; age < count; age += 1) {
      // All look the same, so it matters that it is the same object.
      assert.equal(decoder.decode(integer(0x80, 0x7f, 62 + age))?.[0], added[age]);
    }
    assert.throws(() => decoder.decode(integer(0x80, 0x7f, 62 + count)), isCompressionError);
  }
});

test("an indexed field is the object of its table, not a copy", () => {
  const decoder = new HeaderDecoder(LIMITS);
  assert.equal(decoder.decode(hex("82"))?.[0], staticTable[1]);
  const [field] = decoder.decode(hex("4001610162")) ?? [];
  assert.equal(decoder.decode(hex("be"))?.[0], field);
  assert.deepEqual(field, { name: "a", value: "b", size: 34, wellFormed: true, hasGoodName: true });
});

test("what RFC 7541 forbids is an error of compression", () => {
  for (const [block, message] of [
    ["80", "no entry has index 0"],
    ["be", "no entry has index 62"],
    ["4001610162 bf", "no entry has index 63"],
    ["7f00 0161", "no entry has index 63"],
    ["0f2f 0161", "no entry has index 62"],
    ["ff 80ffffff07", "no entry has index 2147483647"],
    ["ff 81ffffff07", "an integer is too large"],
    ["ff 8080808010", "an integer is too large"],
    ["ff 8080808080 00", "an integer is too large"],
    ["ff ffffffffff", "an integer is too large"],
    ["ff 80808080", "the block is cut off"],
    ["ff", "the block is cut off"],
    ["40", "the block is cut off"],
    ["00 0161", "the block is cut off"],
    ["00 0161 0262", "a string is longer than its block"],
    ["00 7f80ffffff07", "a string is longer than its block"],
    ["00 ff80ffffff07", "a string is longer than its block"],
    ["00 84ffffffff 00", "a string is no Huffman code"],
    ["00 8118 00", "a string is no Huffman code"],
    ["00 82ffff 00", "a string is no Huffman code"],
    ["82 20", "a table update is behind a field"],
    ["82 3fe11f", "a table update is behind a field"],
    ["20 20 20", "a block updates the table too often"],
    ["3fe21f", "a table of 4097 bytes is too large"],
  ] as const) {
    assert.throws(() => new HeaderDecoder(LIMITS).decode(hex(block)), { name: "CompressionError", message });
  }
  assert.deepEqual(new HeaderDecoder(LIMITS).decode(hex("20 3fe11f")), []);
  assert.deepEqual(linesOf(new HeaderDecoder(LIMITS).decode(hex("00 81 1f 00"))), ["a: "]);
});

test("until it says otherwise a peer may use 4096 bytes, then no more than were announced", () => {
  const decoder = new HeaderDecoder({ ...LIMITS, tableBytes: 40 });
  decoder.decode(hex("4001610162 4001630164"));
  assert.deepEqual(linesOf(decoder.decode(hex("be bf"))), ["c: d", "a: b"]);
  assert.deepEqual(linesOf(decoder.decode(hex("3f09 be"))), ["c: d"]);
  assert.throws(() => decoder.decode(hex("bf")), isCompressionError);
  assert.throws(() => decoder.decode(hex("3f0a")), isCompressionError);
});

test("a list that is too large is not given out, and the connection goes on", () => {
  const decoder = new HeaderDecoder({ ...LIMITS, listBytes: 68 });
  assert.equal(decoder.decode(hex("4001610162 40016302 6465")), undefined);
  assert.deepEqual(linesOf(decoder.decode(hex("be"))), ["c: de"]);
  assert.deepEqual(linesOf(decoder.decode(hex("bf bf"))), ["a: b", "a: b"]);
  assert.throws(() => decoder.decode(hex("bf bf bf 80")), isCompressionError);
});

test("a block that refers to one large entry again and again costs little", () => {
  const decoder = new HeaderDecoder({ ...LIMITS, listBytes: 16_384 });
  decoder.decode(Buffer.concat([hex("400161 7fa11e"), Buffer.alloc(4_000, "b")]));
  assert.equal(decoder.decode(hex("be"))?.[0]?.size, 4_033);
  const startedAt = performance.now();
  assert.equal(decoder.decode(Buffer.alloc(1 << 20, 0xbe)), undefined);
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 1_000, `${tookMs} ms for 1 MiB that stand for 4 GB`);
});

test("random octets are fields or an error of compression", () => {
  const outcomes = { fields: 0, error: 0 };
  const octet = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0x00, 0x01, 0x40, 0x82, 0xbe, 0xff));
  fc.assert(
    fc.property(fc.array(fc.array(octet, { maxLength: 60 }), { maxLength: 6 }), (blocks) => {
      const decoder = new HeaderDecoder(LIMITS);
      try {
        for (const block of blocks) assert.ok(Array.isArray(decoder.decode(Buffer.from(block))));
        outcomes.fields += 1;
      } catch (error) {
        if (!isCompressionError(error)) throw error;
        outcomes.error += 1;
      }
    }),
    { numRuns: 5_000 },
  );
  assert.ok(outcomes.fields > 50 && outcomes.error > 50, JSON.stringify(outcomes));
});

function integer(form: number, mask: number, value: number): Buffer {
  if (value < mask) return Buffer.of(form | value);
  const octets = [form | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest >>= 7) octets.push((rest & 0x7f) | 0x80);
  return Buffer.from([...octets, rest]);
}

test("the table has the entries of a list that is cut where its bytes end, whatever comes and goes", () => {
  const add = fc.record({ add: fc.nat({ max: 300 }) });
  const sizes = fc.oneof(fc.nat({ max: LIMITS.tableBytes }), fc.nat({ max: 200 }));
  const resize = fc.record({ resize: sizes });
  const step = fc.oneof({ weight: 20, arbitrary: add }, { weight: 1, arbitrary: resize });
  let evicted = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
      const decoder = new HeaderDecoder(LIMITS);
      let model: string[] = [];
      let tableBytes = LIMITS.tableBytes;
      for (const [index, each] of steps.entries()) {
        const value = "v".repeat("add" in each ? each.add : 0);
        const name = `n${index}`;
        if ("resize" in each) {
          tableBytes = each.resize;
          decoder.decode(integer(0x20, 0x1f, tableBytes));
        } else {
          const strings = [integer(0, 0x7f, name.length), name, integer(0, 0x7f, value.length), value];
          decoder.decode(Buffer.concat([Buffer.of(0x40), ...strings.map((part) => Buffer.from(part))]));
          model.unshift(`${name}: ${value}`);
        }
        let bytes = 0;
        const left = model.findIndex((line) => (bytes += line.length - 2 + 32) > tableBytes);
        if (left !== -1) evicted += 1;
        if (left !== -1) model = model.slice(0, left);
        const all = model.map((_, age) => integer(0x80, 0x7f, 62 + age));
        assert.deepEqual(linesOf(decoder.decode(Buffer.concat(all))), model);
        const behind = integer(0x80, 0x7f, 62 + model.length);
        assert.throws(() => decoder.decode(behind), isCompressionError);
      }
    }),
    { numRuns: 30 },
  );
  assert.ok(evicted > 100, `${evicted} times something left`);
});
