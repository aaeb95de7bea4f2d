import assert from "node:assert/strict";
import { test } from "node:test";
import { joinAddress, splitAddress } from "./address.ts";

test("an address is a host and a port, and IPv6 has brackets in it only", () => {
  for (const [address, host, port] of [
    ["127.0.0.1:8081", "127.0.0.1", 8081],
    ["order.internal:0", "order.internal", 0],
    ["[::1]:8081", "::1", 8081],
    ["[fe80::1:2]:80", "fe80::1:2", 80],
  ] as const) {
    assert.deepEqual(splitAddress(address), [host, port]);
    assert.equal(joinAddress(host, port), address);
  }
});

test("what has no host or no port is no address", () => {
  for (const text of ["", "8081", ":8081", "localhost", "localhost:http", "[::1]"]) {
    assert.throws(() => splitAddress(text), /write host:port/, text);
  }
});
