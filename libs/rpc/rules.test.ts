/** What the validator lets pass, and must not. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create, type DescMessage } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { DomainError } from "#libs/reasons";
import { BadRequestSchema, ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import {
  CreateReservationRequestSchema,
  InventoryService,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { type RpcServer, startRpcServer } from "./index.ts";
import { checkRules } from "./rules.ts";

const reservationId = "0190163d-8694-739b-aea5-966c26f8ad90";

let server: RpcServer;

before(async () => {
  const method = InventoryService.method.extendReservation;
  const path = `/${InventoryService.typeName}/${method.name}`;
  server = await startRpcServer({
    address: "127.0.0.1:0",
    services: [
      {
        desc: InventoryService,
        methods: [{ desc: method, path, handle: async () => create(method.output) }],
      },
    ],
    reflected: [],
    log: pino({ level: "silent" }),
  });
});

after(async () => {
  await server.stop({ noticeMs: 0, drainTimeoutMs: 1_000 });
});

// Each is in the range of the contract, 1 s to 30 days, if it is only added up or compared by its parts.
const malformed = [
  { seconds: 2n, nanos: -2_000_000_000 },
  { seconds: 5n, nanos: -1 },
  { seconds: 5n, nanos: 1_000_000_000 },
  { seconds: 5n, nanos: 2_147_483_647 },
  { seconds: 2_592_000n, nanos: -1 },
];

test("a duration whose parts do not belong together is refused", async () => {
  const client = createClient(InventoryService, createGrpcTransport({ baseUrl: `http://${server.address}` }));
  for (const ttl of [
    { seconds: 1n, nanos: 0 },
    { seconds: 5n, nanos: 999_999_999 },
  ]) {
    await client.extendReservation({ reservationId, ttl });
  }
  for (const ttl of malformed) {
    const error = await client.extendReservation({ reservationId, ttl }).then(
      () => assert.fail(`${ttl.seconds} s and ${ttl.nanos} ns were let pass`),
      (reason: unknown) => ConnectError.from(reason),
    );
    assert.equal(error.code, Code.InvalidArgument, error.message);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "INVALID_FIELD");
    const fields = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
    assert.deepEqual(
      fields.map(({ field }) => field),
      ["ttl"],
    );
  }
});

test("so is one of a oneof", () => {
  const right = { owner: "till-1", lines: [{ sku: "tea", quantity: 1 }] };
  for (const value of malformed) {
    const request = create(CreateReservationRequestSchema, { ...right, expiry: { case: "ttl", value } });
    assert.throws(
      () => checkRules(CreateReservationRequestSchema, request),
      (error: unknown) => error instanceof DomainError && error.data.fields?.[0]?.field === "ttl",
    );
  }
});

test("durations stand at the top of the contract's requests, where they are looked at", () => {
  const services = [InventoryService, OrderReservationService, OrderService];
  const inputs = services.flatMap(({ methods }) => methods.map(({ input }) => input));
  for (const input of inputs) assert.deepEqual(durationsBelow(input, new Set()), [], input.name);
});

function durationsBelow(desc: DescMessage, known: Set<DescMessage>): string[] {
  known.add(desc);
  return desc.fields.flatMap((field) => {
    const { message } = field;
    if (!message || known.has(message)) return [];
    const nested = message.fields.filter((inner) => inner.message?.typeName === DurationSchema.typeName);
    return [...nested.map(({ name }) => `${field.name}.${name}`), ...durationsBelow(message, known)];
  });
}
