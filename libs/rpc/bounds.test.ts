/** A refusal stays small enough to be told, and is found in little time, whatever the request. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import { BadRequestSchema, PreconditionFailureSchema } from "#proto/google/rpc/error_details_pb.ts";
import {
  InventoryService,
  type ReservationLine,
  ReservationLineSchema,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { type RpcServer, type RpcService, startRpcServer } from "./index.ts";

/** What Envoy takes of an answer's headers and trailers by default. */
const ENVOY_HEADERS_BYTES = 60 * 1_024;
/** Within the deadline of any call: a slow machine was seen to take 1,040 ms. */
const SOON_MS = 5_000;

let server: RpcServer;

// Everything is short, of everything that is asked for.
const soldOut: RpcService = {
  desc: InventoryService,
  methods: [
    {
      desc: InventoryService.method.createReservation,
      path: "/holdfast.inventory.v1.InventoryService/CreateReservation",
      handle: async (request) => {
        assert("lines" in request && Array.isArray(request.lines));
        const shortages = request.lines.map(({ sku, locationId, quantity }: ReservationLine) => ({
          sku,
          locationId,
          requested: quantity,
          available: 999_999,
        }));
        const message = shortages.map(({ sku, locationId }) => `${sku} at ${locationId} is short`).join("; ");
        return await Promise.reject(new DomainError("INSUFFICIENT_STOCK", `ähm: ${message}`, { shortages }));
      },
    },
  ],
};

before(async () => {
  server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [soldOut],
    reflected: [],
    log: pino({ level: "silent" }),
  });
});

after(async () => {
  await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

async function refusalOf(lines: readonly ReservationLine[]): Promise<ConnectError> {
  const transport = createGrpcTransport({ baseUrl: `http://${server.address}` });
  return await createClient(InventoryService, transport)
    .createReservation({ owner: "till", lines: [...lines] })
    .then(
      () => assert.fail("the call was answered"),
      (error: unknown) => ConnectError.from(error),
    );
}

function bytesOf(error: ConnectError): number {
  let bytes = 0;
  error.metadata.forEach((value, name) => {
    bytes += name.length + value.length;
  });
  return bytes;
}

test("as many shortages as a request can have, with the longest names, are all told", async () => {
  const lines = Array.from({ length: 100 }, (_, index) =>
    create(ReservationLineSchema, {
      sku: String(index).padStart(3, "0").padEnd(64, "x"),
      locationId: "l".repeat(64),
      quantity: 1_000_000,
    }),
  );
  const error = await refusalOf(lines);
  assert.equal(error.code, Code.FailedPrecondition, error.message);
  const violations = error.findDetails(PreconditionFailureSchema).flatMap((failure) => failure.violations);
  assert.equal(violations.length, 100);
  assert.ok(bytesOf(error) < ENVOY_HEADERS_BYTES, `${bytesOf(error)} bytes`);
});

test("of many fields at fault the first ones are named, and the message stays short", async () => {
  const lines = Array.from({ length: 100 }, () =>
    create(ReservationLineSchema, { sku: "!".repeat(64), locationId: "?".repeat(64), quantity: -1 }),
  );
  const error = await refusalOf(lines);
  assert.equal(error.code, Code.InvalidArgument, error.message);
  const fields = error.findDetails(BadRequestSchema).flatMap((request) => request.fieldViolations);
  assert.equal(fields.length, 50);
  assert.equal(fields[0]?.field, "lines[0].sku");
  assert.ok(error.rawMessage.length <= 1_000, `${error.rawMessage.length} characters`);
  assert.ok(bytesOf(error) < ENVOY_HEADERS_BYTES, `${bytesOf(error)} bytes`);
});

test("a list that is far too long is refused for its length alone, and soon", async () => {
  const lines = Array.from({ length: 300_000 }, () => create(ReservationLineSchema));
  const startedAt = performance.now();
  const error = await refusalOf(lines);
  const tookMs = performance.now() - startedAt;
  assert.equal(error.code, Code.InvalidArgument, error.message);
  const fields = error.findDetails(BadRequestSchema).flatMap((request) => request.fieldViolations);
  assert.deepEqual(
    fields.map(({ field, description }) => ({ field, description })),
    [{ field: "lines", description: "must contain no more than 100 item(s)" }],
  );
  assert.ok(tookMs < SOON_MS, `${tookMs} ms`);
});
