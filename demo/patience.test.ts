import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { isRetriable, withPatience } from "./patience.ts";

/** A service that fails with each of these errors before it answers. */
function createFailing(errors: ConnectError[]) {
  const waiting = [...errors];
  const seen: string[] = [];
  const inner = createRouterTransport(({ rpc }) => {
    rpc(OrderService.method.createOrder, ({ requestId }) => {
      seen.push(requestId);
      const error = waiting.shift();
      if (error) throw error;
      return {};
    });
  });
  let retries = 0;
  const transport = withPatience(inner, { patienceMs: 5_000, onRetry: () => (retries += 1) });
  return { client: createClient(OrderService, transport), seen, retries: () => retries };
}

test("a call that may be repeated is sent again under the same request id until it is answered", async () => {
  const { client, seen, retries } = createFailing([
    new ConnectError("away", Code.Unavailable),
    new ConnectError("collided", Code.Aborted),
  ]);
  await client.createOrder({ requestId: "one" });
  assert.deepEqual(seen, ["one", "one", "one"]);
  assert.equal(retries(), 2);
});

test("a refusal is not repeated", async () => {
  const { client, seen } = createFailing([new ConnectError("no", Code.FailedPrecondition)]);
  await assert.rejects(client.createOrder({ requestId: "one" }), /no/);
  assert.equal(seen.length, 1);
});

test("a broken connection may be repeated, an internal error that the service tells may not", () => {
  const broken = new ConnectError("stream closed", Code.Internal);
  const told = new ConnectError("defect", Code.Internal, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "INTERNAL_ERROR", domain: "holdfast" } },
  ]);
  assert.equal(isRetriable(broken), true);
  assert.equal(isRetriable(told), false);
});
