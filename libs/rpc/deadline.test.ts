/** Whose clock strikes first: connect-node keeps each deadline too. */
import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { mock, test } from "node:test";
import { pino } from "pino";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { startRpcServer } from "./index.ts";

test("a deadline that connect-node sees pass first is not told as a caller who went away", async () => {
  const outcomes: string[] = [];
  const begun = Promise.withResolvers<void>();
  const abandoned = Promise.withResolvers<unknown>();
  const method = InventoryService.method.getItem;
  const path = `/${InventoryService.typeName}/${method.name}`;
  const server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [
      {
        desc: InventoryService,
        methods: [
          {
            desc: method,
            path,
            handle: async (_, call) => {
              call.signal.addEventListener("abort", () => abandoned.resolve(call.signal.reason));
              begun.resolve();
              return await new Promise(() => {});
            },
          },
        ],
      },
    ],
    reflected: [],
    log: pino({ level: "silent" }),
    observe: (_, outcome) => outcomes.push(outcome),
  });
  const session = connectHttp2(`http://${server.address}`);
  // Both timers are due in the same moment, and connect-node has set its own first.
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/json",
      "connect-timeout-ms": "1000",
    });
    stream.setEncoding("utf8").end(JSON.stringify({ sku: "tea" }));
    await begun.promise;
    mock.timers.tick(1_000);
    let body = "";
    for await (const piece of stream) body += String(piece);
    const answer: unknown = JSON.parse(body);
    assert.ok(typeof answer === "object" && answer !== null && "code" in answer);
    assert.equal(answer.code, "deadline_exceeded");
    assert.deepEqual(outcomes, ["DEADLINE_PASSED"]);
    const reason = await abandoned.promise;
    assert.ok(reason instanceof Error && "reason" in reason);
    assert.equal(reason.reason, "DEADLINE_PASSED");
  } finally {
    mock.timers.reset();
    session.close();
    await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
  }
});
