import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "#libs/reasons";
import { decodePageToken, encodePageToken } from "./page.ts";

const filter = ["items", "demo", 0];

function isOfThePageToken(error: unknown): boolean {
  return error instanceof DomainError && error.data.fields?.[0]?.field === "page_token";
}

test("a token gives the key back that it was made of, to the same list with the same filter only", () => {
  const token = encodePageToken(filter, ["tea", "\u{1f375}"]);
  assert.deepEqual(decodePageToken(token, filter, ["text", "text"]), ["tea", "\u{1f375}"]);
  assert.equal(decodePageToken("", filter, ["text", "text"]), undefined);
  assert.throws(() => decodePageToken(token, ["items", "demo", 1], ["text", "text"]), isOfThePageToken);
  assert.throws(() => decodePageToken(token, filter, ["text"]), isOfThePageToken);
});

test("a made-up token is refused: no JSON, no list of texts, or text that the database can't hold", () => {
  const [hash] = JSON.parse(Buffer.from(encodePageToken(filter, []), "base64url").toString());
  for (const text of ["{", "{}", "[]", `["${hash}",1]`, `["${hash}","a\\u0000b"]`, `["${hash}","\\ud800"]`]) {
    const token = Buffer.from(text).toString("base64url");
    assert.throws(() => decodePageToken(token, filter, ["text"]), isOfThePageToken, text);
  }
});

test("a part that is not what the list's key says is refused", () => {
  const id = "0190163d-8694-739b-aea5-966c26f8ad90";
  assert.deepEqual(decodePageToken(encodePageToken(filter, ["7", id]), filter, ["time", "uuid"]), ["7", id]);
  for (const [kind, part] of [
    ["uuid", "zz"],
    ["number", "-1"],
    ["number", "1e3"],
    ["number", "1234567890123456"],
    ["time", "x"],
    ["time", "999999999999999"],
  ] as const) {
    const token = encodePageToken(filter, [part]);
    assert.throws(() => decodePageToken(token, filter, [kind]), isOfThePageToken, `${kind} ${part}`);
  }
});
