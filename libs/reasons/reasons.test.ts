import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ReasonSchema } from "#proto/holdfast/error/v1/reason_pb.ts";
import { codeOfReason, DomainError, invalidField } from "./index.ts";

test("the table of reasons and the contract name the same ones", () => {
  const contract = ReasonSchema.values
    .map(({ name }) => name)
    .filter((name) => name !== "REASON_UNSPECIFIED");
  assert.deepEqual(Object.keys(codeOfReason), contract);
});

test("the contract's comment on a reason begins with the reason's code", async () => {
  const contract = await readFile(
    new URL("../../proto/holdfast/error/v1/reason.proto", import.meta.url),
    "utf8",
  );
  for (const [reason, code] of Object.entries(codeOfReason)) {
    const [comment] = new RegExp(`((  // .*\\n)+)  ${reason} = `).exec(contract) ?? [""];
    assert.ok(comment.startsWith(`  // ${code}: `), reason);
  }
});

test("an invalid field is named in the message and in the data", () => {
  const error = invalidField("lines[0].sku", "is empty");
  assert.ok(error instanceof DomainError);
  assert.equal(error.message, "lines[0].sku: is empty");
  assert.deepEqual(error.data.fields, [{ field: "lines[0].sku", description: "is empty" }]);
});
