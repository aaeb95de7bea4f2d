import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { headerField, withValue } from "./header-field.ts";
import { staticTable } from "./static-table.ts";

const octets = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet));

test("the size is that of the octets and 32 more", () => {
  assert.equal(headerField("custom-key", "custom-header").size, 55);
  assert.equal(headerField("", "").size, 32);
  assert.equal(withValue(headerField("a", "b"), "\xff\xff").size, 35);
});

test("a name of lower-case token characters is well formed, and no other octet may be in it", () => {
  const good = octets.filter((octet) => headerField(`x${octet}y`, "v").wellFormed).join("");
  assert.equal(good, "!#$%&'*+-.0123456789^_`abcdefghijklmnopqrstuvwxyz|~");
  for (const octet of octets) {
    assert.equal(headerField(octet, "v").wellFormed, good.includes(octet), JSON.stringify(octet));
    assert.equal(headerField(`x${octet}`, "v").wellFormed, good.includes(octet), JSON.stringify(octet));
  }
  assert.equal(headerField("", "v").wellFormed, false);
});

test("a colon begins the pseudo-headers of a request and nothing else", () => {
  for (const name of [":method", ":scheme", ":authority", ":path"]) {
    assert.equal(headerField(name, "v").wellFormed, true, name);
  }
  for (const name of [":", ":status", ":protocol", ":Path", ":path ", "::path", "path:", ":method:"]) {
    assert.equal(headerField(name, "v").wellFormed, false, name);
  }
});

test("a field of one connection is not well formed", () => {
  for (const name of ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]) {
    assert.equal(headerField(name, "").wellFormed, false, name);
    assert.equal(withValue(headerField(name, "a"), "b").wellFormed, false, name);
    assert.equal(headerField(`${name}s`, "v").wellFormed, true, name);
  }
});

test("te says trailers or is not well formed", () => {
  assert.equal(headerField("te", "trailers").wellFormed, true);
  for (const value of ["", "gzip", "trailers, gzip", "trailer", "trailerss"]) {
    assert.equal(headerField("te", value).wellFormed, false, value);
    assert.equal(withValue(headerField("te", "trailers"), value).wellFormed, false, value);
    assert.equal(headerField("tea", value).wellFormed, true, value);
  }
  assert.equal(withValue(headerField("te", "gzip"), "trailers").wellFormed, true);
});

test("a value has no NUL, CR or LF anywhere", () => {
  for (const octet of octets) {
    const inside = !"\0\r\n".includes(octet);
    for (const value of [`v${octet}v`, `${octet}v`, `v${octet}`, octet]) {
      assert.equal(headerField("x", value).wellFormed, inside, JSON.stringify(octet));
    }
  }
  assert.equal(headerField("x", "").wellFormed, true);
});

test("spaces and tabs at the ends of a value are taken off, and count", () => {
  for (const [sent, value] of [
    [" a", "a"],
    ["a\t", "a"],
    [" \t a \t b\t ", "a \t b"],
    [" ", ""],
    [" \t", ""],
  ] as const) {
    const field = headerField("x", sent);
    assert.deepEqual([field.value, field.wellFormed], [value, true], JSON.stringify(sent));
    // Otherwise our table would keep what the peer's has let go.
    assert.equal(field.size, 33 + sent.length);
  }
  assert.equal(headerField("te", "trailers ").wellFormed, true);
  for (const octet of octets) {
    const isTakenOff = " \t".includes(octet);
    assert.equal(headerField("x", `${octet}v${octet}`).value === "v", isTakenOff, JSON.stringify(octet));
  }
});

test("a pseudo-header has no space or tab at its ends", () => {
  for (const value of [" /", "/ ", "\t/", "/\t", " "]) {
    assert.equal(headerField(":path", value).wellFormed, false, JSON.stringify(value));
  }
});

test("a field with another value is the field that would have been made of both", () => {
  const names = fc.oneof(
    fc.constantFrom("te", "upgrade", ":path", ":status", "", "X", "x-request-id"),
    fc.string({ maxLength: 12 }),
  );
  const values = fc.oneof(
    fc.constantFrom("trailers", "", " a", "a\n"),
    fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  );
  fc.assert(
    fc.property(names, values, values, (name, before, value) => {
      assert.deepEqual(withValue(headerField(name, before), value), headerField(name, value));
    }),
    { numRuns: 2_000 },
  );
});

test("the static table has the 61 entries of RFC 7541, Appendix A", () => {
  assert.equal(staticTable.length, 61);
  for (const [index, name, value] of [
    [1, ":authority", ""],
    [2, ":method", "GET"],
    [3, ":method", "POST"],
    [4, ":path", "/"],
    [7, ":scheme", "https"],
    [8, ":status", "200"],
    [14, ":status", "500"],
    [16, "accept-encoding", "gzip, deflate"],
    [28, "content-length", ""],
    [31, "content-type", ""],
    [33, "date", ""],
    [55, "set-cookie", ""],
    [61, "www-authenticate", ""],
  ] as const) {
    const field = staticTable[index - 1];
    assert.deepEqual([field?.name, field?.value], [name, value], `index ${index}`);
  }
  const values = staticTable.map(({ value }) => value).filter((value) => value !== "");
  const schemes = ["http", "https"];
  const answers = ["200", "204", "206", "304", "400", "404", "500"];
  assert.deepEqual(values, ["GET", "POST", "/", "/index.html", ...schemes, ...answers, "gzip, deflate"]);
  const malformed = staticTable.filter(({ wellFormed }) => !wellFormed).map(({ name }) => name);
  assert.deepEqual([...new Set(malformed)], [":status", "transfer-encoding"]);
});
