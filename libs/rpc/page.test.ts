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
  assert.deepEqual(decodePageToken(token, filter, 2), ["tea", "\u{1f375}"]);
  assert.equal(decodePageToken("", filter, 2), undefined);
  assert.throws(() => decodePageToken(token, ["items", "demo", 1], 2), isOfThePageToken);
  assert.throws(() => decodePageToken(token, filter, 1), isOfThePageToken);
});

test("a made-up token is refused: no JSON, no list of texts, or text that the database can't hold", () => {
  const [hash] = JSON.parse(Buffer.from(encodePageToken(filter, []), "base64url").toString());
  for (const text of ["{", "{}", "[]", `["${hash}",1]`, `["${hash}","a\\u0000b"]`, `["${hash}","\\ud800"]`]) {
    const token = Buffer.from(text).toString("base64url");
    assert.throws(() => decodePageToken(token, filter, 1), isOfThePageToken, text);
  }
});
