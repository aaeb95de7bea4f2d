import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { HeaderDecoder } from "./header-decoder.ts";
import { HeaderEncoder, type OutgoingField, RepeatedField } from "./header-encoder.ts";
import { staticTable } from "./static-table.ts";

const TABLE_BYTES = 4_096;
const LIMITS = { tableBytes: TABLE_BYTES, listBytes: 1 << 24 };

// More than the table has room for, so that some stay outside; some fields and names are in all tables.
const pool: readonly RepeatedField[] = [
  new RepeatedField(":status", "200"),
  new RepeatedField(":status", "418"),
  new RepeatedField("content-type", "application/grpc+proto"),
  new RepeatedField("accept-encoding", "gzip, deflate"),
  new RepeatedField("x-large", "l".repeat(1_500)),
  new RepeatedField("x-larger-than-the-table", "l".repeat(TABLE_BYTES)),
  ...Array.from({ length: 60 }, (_, index) => new RepeatedField(`x-${index}`, "v".repeat(index))),
];
const latin1 = fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code));
const name = fc.oneof(
  fc.constantFrom(...staticTable.map((field) => field.name)),
  fc.constantFrom(...pool.map((field) => field.name)),
  fc.stringMatching(/^[a-z-]{1,200}$/),
);
// Around the lengths at which the length itself grows by a byte; without the spaces that a decoder takes off.
const value = fc.oneof(
  fc.string({ unit: latin1, maxLength: 40 }).map((text) => text.replaceAll(/^ +| +$/g, "")),
  fc.constantFrom(126, 127, 128, 254, 255, 16_510, 16_511, 40_000).map((length) => "x".repeat(length)),
);
const other = fc.record({ name, value });
const block = fc.array(fc.oneof(fc.constantFrom<OutgoingField>(...pool), other), { maxLength: 30 });

/** The encoder and decoder of one connection. */
function openPair() {
  const encoder = new HeaderEncoder();
  const decoder = new HeaderDecoder(LIMITS);
  const target = Buffer.alloc(2_000_000);
  return {
    encoder,
    /** Gives the block, once it is known that it says what it should and is no larger than was promised. */
    write: (fields: readonly OutgoingField[], at = 0): Buffer => {
      const bound = encoder.bound(fields);
      const end = encoder.encode(fields, target, at);
      assert.ok(end - at <= bound, `${end - at} bytes where ${bound} were promised`);
      const written = Buffer.from(target.subarray(at, end));
      const decoded = decoder.decode(written)?.map((field) => ({ name: field.name, value: field.value }));
      assert.deepEqual(
        decoded,
        fields.map((field) => ({ name: field.name, value: field.value })),
      );
      return written;
    },
  };
}

suite("what is encoded", () => {
  test("is decoded to the same fields, block after block, in no more bytes than promised", () => {
    const blocks = fc.array(fc.tuple(block, fc.nat(20)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(blocks, (lists) => {
        const { write } = openPair();
        for (const [fields, at] of lists) write(fields, at);
      }),
      { numRuns: 100 },
    );
  });

  test("is so when the peer says how much it remembers, at any time and more than once", () => {
    const tableBytes = fc.constantFrom(0, 31, 100, TABLE_BYTES - 1, TABLE_BYTES, 65_536, 2 ** 32 - 1);
    const steps = fc.array(fc.oneof(block, tableBytes), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(steps, (parts) => {
        const { encoder, write } = openPair();
        let isGivenUp = false;
        let isSaid = true;
        for (const part of parts) {
          if (typeof part === "number") {
            if (part < TABLE_BYTES && !isGivenUp) [isGivenUp, isSaid] = [true, false];
            encoder.limitTable(part);
            continue;
          }
          const written = write(part);
          assert.equal(written[0] === 0x20, !isSaid, "the table is emptied once, in the first block");
          isSaid = true;
        }
      }),
      { numRuns: 100 },
    );
  });
});

suite("a repeated field", () => {
  const field = new RepeatedField("x-repeated", "value");

  test("is one byte from its second time on", () => {
    const { write } = openPair();
    assert.equal(write([field, field]).length, 1 + 1 + 10 + 1 + 5 + 1);
    assert.deepEqual(write([field]), Buffer.of(0x80 | 62));
  });

  test("is one byte at once if all tables have it", () => {
    const { write } = openPair();
    assert.deepEqual(write([new RepeatedField(":status", "200")]), Buffer.of(0x80 | 8));
  });

  test("is found behind those that came after it", () => {
    const { write } = openPair();
    write([field]);
    for (const later of pool.slice(10, 15)) write([later]);
    assert.deepEqual(write([field]), Buffer.of(0x80 | 67));
  });

  test("is spelled out for a peer that remembers less than usual, also when it remembers more again", () => {
    const { encoder, write } = openPair();
    write([field]);
    encoder.limitTable(TABLE_BYTES - 1);
    const spelledOut = Buffer.concat([
      Buffer.of(0, 10),
      Buffer.from(field.name),
      Buffer.of(5),
      Buffer.from("value"),
    ]);
    assert.deepEqual(write([field]), Buffer.concat([Buffer.of(0x20), spelledOut]));
    encoder.limitTable(TABLE_BYTES);
    assert.deepEqual(write([field]), spelledOut);
    assert.deepEqual(write([field]), spelledOut);
  });

  test("that the table has no room for leaves it as it is", () => {
    const { write } = openPair();
    write([field]);
    write([new RepeatedField("x-large", "l".repeat(TABLE_BYTES))]);
    assert.deepEqual(write([field]), Buffer.of(0x80 | 62));
  });
});
