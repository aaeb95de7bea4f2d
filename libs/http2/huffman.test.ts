import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeHuffman } from "./huffman.ts";
import { CODES, encodeHuffman, octetsOf } from "./testing/huffman-encoder.ts";

const EOS = 256;
const symbols = new Map(CODES.map((code, symbol) => [code, symbol]));
const latin1 = fc.uint8Array({ maxLength: 200 }).map((octets) => Buffer.from(octets).toString("latin1"));

function decode(source: Uint8Array): string | undefined {
  return decodeHuffman(source, 0, source.length);
}

// The same bit by bit, as one would read the RFC aloud.
function decodeSlowly(source: Uint8Array): string | undefined {
  const bits = [...source].map((octet) => octet.toString(2).padStart(8, "0")).join("");
  const octets: number[] = [];
  let rest = "";
  for (const bit of bits) {
    rest += bit;
    const symbol = symbols.get(rest);
    if (symbol === undefined) continue;
    if (symbol === EOS) return undefined;
    octets.push(symbol);
    rest = "";
  }
  return /^1{0,7}$/.test(rest) ? Buffer.from(octets).toString("latin1") : undefined;
}

test("the codes are those of RFC 7541, Appendix B", () => {
  const known: [symbol: number, code: number, bits: number][] = [
    [0, 0x1ff8, 13],
    [1, 0x7fffd8, 23],
    [10, 0x3ffffffc, 30],
    [22, 0x3ffffffe, 30],
    [0x20, 0x14, 6],
    [0x30, 0x0, 5],
    [0x3a, 0x5c, 7],
    [0x41, 0x21, 6],
    [0x58, 0xfc, 8],
    [0x5c, 0x7fff0, 19],
    [0x61, 0x3, 5],
    [0x7a, 0x7b, 7],
    [0x7f, 0xffffffc, 28],
    [0x80, 0xfffe6, 20],
    [0xff, 0x3ffffee, 26],
    [EOS, 0x3fffffff, 30],
  ];
  for (const [symbol, code, bits] of known) {
    assert.equal(CODES[symbol], code.toString(2).padStart(bits, "0"), `symbol ${symbol}`);
  }
  // A complete code: all bits are used up, so one wrong length anywhere would show.
  assert.equal(CODES.length, 257);
  assert.equal(
    CODES.reduce((sum, code) => sum + 2 ** -code.length, 0),
    1,
  );
});

test("the strings of RFC 7541, Appendix C are decoded", () => {
  for (const [hex, text] of [
    ["f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"],
    ["a8eb10649cbf", "no-cache"],
    ["25a849e95ba97d7f", "custom-key"],
    ["6402", "302"],
    ["aec3771a4b", "private"],
    ["d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"],
    [
      "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
  ] as const) {
    assert.equal(decode(Buffer.from(hex, "hex")), text);
  }
});

test("every pair of octets comes back as it was, wherever in a buffer it is", () => {
  for (let first = 0; first < 256; first += 1) {
    for (let second = 0; second < 256; second += 1) {
      const text = String.fromCharCode(first, second);
      const code = encodeHuffman(text);
      const source = Buffer.concat([Buffer.of(0xff), code, Buffer.of(0)]);
      assert.equal(decodeHuffman(source, 1, 1 + code.length), text);
    }
  }
});

test("any latin1 text comes back as it was", () => {
  fc.assert(fc.property(latin1, (text) => decode(encodeHuffman(text)) === text));
});

test("a text comes back at any length, also where it is longer than what is kept for it", () => {
  for (const length of [0, 1, 8_190, 8_191, 8_192, 16_384, 100_000]) {
    const text = "a~".repeat(length / 2).padEnd(length, "0");
    assert.equal(decode(encodeHuffman(text)), text);
  }
  const shortest = "0".repeat(30_000);
  assert.equal(decode(encodeHuffman(shortest)), shortest);
});

test("any octets mean what they mean bit by bit", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (octets) => {
      assert.equal(decode(octets), decodeSlowly(octets));
    }),
    { numRuns: 5_000 },
  );
});

test("any codes with any end mean what they mean bit by bit", () => {
  const end = fc.oneof(
    fc.nat({ max: 24 }).map((count) => "1".repeat(count)),
    fc.array(fc.constantFrom("0", "1"), { maxLength: 16 }).map((bits) => bits.join("")),
  );
  const anyCodes = fc.array(fc.nat({ max: 255 }), { maxLength: 20 });
  const seen = { decoded: 0, refused: 0 };
  fc.assert(
    fc.property(anyCodes, end, (octets, bits) => {
      const all = octets.map((octet) => CODES[octet]).join("") + bits;
      const source = octetsOf(all.padEnd(Math.ceil(all.length / 8) * 8, "1"));
      const expected = decodeSlowly(source);
      seen[expected === undefined ? "refused" : "decoded"] += 1;
      assert.equal(decode(source), expected);
    }),
    { numRuns: 5_000 },
  );
  assert.ok(seen.decoded > 500 && seen.refused > 500, JSON.stringify(seen));
});

test("a whole octet of padding is refused", () => {
  assert.equal(decode(Buffer.of()), "");
  assert.equal(decode(Buffer.of(0xff)), undefined);
  for (const text of ["0", "www.example.com", "01234567", "&"]) {
    const code = encodeHuffman(text);
    assert.equal(decode(code), text);
    assert.equal(decode(Buffer.concat([code, Buffer.of(0xff)])), undefined, text);
  }
});

test("padding with a zero in it is refused", () => {
  for (const padding of ["110", "101", "011", "000"]) {
    assert.equal(decode(octetsOf(`${CODES[0x61]}${padding}`)), undefined, padding);
  }
  assert.equal(decode(octetsOf(`${CODES[0x61]}111`)), "a");
});

test("EOS is refused at each place in an octet, with or without more behind it", () => {
  for (let before = 0; before < 8; before += 1) {
    const bits = `${CODES[0x30]}`.repeat(before) + CODES[EOS];
    for (const behind of ["", CODES[0x61], "0".repeat(40)]) {
      const all = bits + behind;
      assert.equal(decode(octetsOf(all.padEnd(Math.ceil(all.length / 8) * 8, "1"))), undefined);
    }
  }
});
