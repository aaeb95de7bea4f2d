import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  type DescField,
  type DescMessage,
  isMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import fc from "fast-check";
import { HealthCheckRequestSchema } from "#proto/grpc/health/v1/health_pb.ts";
import {
  CreateReservationRequestSchema,
  InventoryService,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { CreateOrderRequestSchema, OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { plainCheckOf } from "./plain-rules.ts";

const validator = createValidator();

function isValid(desc: DescMessage, message: Message): boolean {
  return validator.validate(desc, message).kind === "valid";
}

const requests = [InventoryService, OrderReservationService, OrderService].flatMap(({ methods }) =>
  methods.map(({ input }) => input),
);

// Values on both sides of every rule of the contract.
const texts = fc.oneof(
  fc.constantFrom("", "a", "tea-1", "-tea", "EUR", "eur", "orders/1", "0189d8b0-0000-7000-8000-00000000000a"),
  fc.constantFrom("x".repeat(64), "x".repeat(65), "x".repeat(1_000), "x".repeat(1_001), "😀".repeat(600)),
  fc.string({ unit: "grapheme", maxLength: 5 }),
);
const numbers = fc.constantFrom(-1, 0, 1, 2, 500, 501, 1_000_000, 1_000_001, 2_147_483_647);

function arbitraryMessage(desc: DescMessage): fc.Arbitrary<Message> {
  const fields = desc.fields.map((field) => fc.option(arbitraryField(field), { nil: undefined }));
  return fc.tuple(...fields).map((values) => {
    const message = create(desc);
    const reflected = reflect(desc, message);
    values.forEach((value, index) => {
      const field = desc.fields[index];
      if (field && value !== undefined) setField(reflected, field, value);
    });
    return message;
  });
}

function setField(reflected: ReturnType<typeof reflect>, field: DescField, value: unknown): void {
  if (field.fieldKind === "list") {
    const list = reflected.get(field);
    for (const item of Array.isArray(value) ? value : []) list.add(wrap(field, item));
  } else {
    reflected.set(field, wrap(field, value));
  }
}

function wrap(field: DescField, value: unknown): unknown {
  return field.message && isMessage(value, field.message) ? reflect(field.message, value) : value;
}

function arbitraryField(field: DescField): fc.Arbitrary<unknown> {
  const one = arbitraryValue(field);
  return field.fieldKind === "list" ? fc.array(one, { maxLength: 102, size: "max" }) : one;
}

function arbitraryValue(field: DescField): fc.Arbitrary<unknown> {
  if (field.message) return arbitraryMessage(field.message);
  if (field.enum) return fc.constantFrom(0, 1, 2, 99);
  switch (field.scalar) {
    case ScalarType.STRING:
      return texts;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT64:
      return fc.constantFrom(-1n, 0n, 1n, 2_592_000n, 2_592_001n, 10_000_000_000n, 10_000_000_001n);
    default:
      return numbers;
  }
}

describe("the plain check of a message", () => {
  for (const desc of requests) {
    it(`never passes a ${desc.name} that the full validator refuses`, () => {
      const check = plainCheckOf(desc);
      const keepsItsWord = (message: Message) => !check(message) || isValid(desc, message);
      fc.assert(fc.property(arbitraryMessage(desc), keepsItsWord), { numRuns: 150 });
    });
  }

  it("passes the calls that are made most by itself", () => {
    const line = { sku: "tea-1", quantity: 2 };
    const order = create(CreateOrderRequestSchema, {
      customerId: "customer",
      lines: [line],
      currency: "EUR",
      ttl: { seconds: 60n },
      orderId: "0189d8b0-0000-7000-8000-00000000000a",
    });
    const reservation = create(CreateReservationRequestSchema, {
      owner: "till-1",
      lines: [line],
      expiry: { case: "ttl", value: { seconds: 60n } },
    });
    assert.ok(plainCheckOf(CreateOrderRequestSchema)(order));
    assert.ok(plainCheckOf(CreateReservationRequestSchema)(reservation));
    assert.ok(plainCheckOf(HealthCheckRequestSchema)(create(HealthCheckRequestSchema)));
  });

  it("passes no duration whose parts do not belong together, wherever they would add up to", () => {
    const request = (value: { seconds: bigint; nanos: number }) =>
      create(CreateReservationRequestSchema, {
        owner: "till-1",
        lines: [{ sku: "tea", quantity: 1 }],
        expiry: { case: "ttl", value },
      });
    const check = plainCheckOf(CreateReservationRequestSchema);
    const [seconds, most] = [5n, 999_999_999];
    assert.ok(check(request({ seconds, nanos: most })));
    for (const nanos of [-2_147_483_648, -2_000_000_000, -1, most + 1, 2_147_483_647]) {
      assert.equal(check(request({ seconds, nanos })), false, `${nanos} ns`);
    }
  });

  it("passes none that breaks a rule, in a oneof and in a list too", () => {
    const check = plainCheckOf(CreateReservationRequestSchema);
    const right = { owner: "till-1", lines: [{ sku: "tea", quantity: 1 }] };
    assert.ok(check(create(CreateReservationRequestSchema, right)));
    const wrong = [
      { ...right, owner: "" },
      { ...right, owner: "orders/1" },
      { ...right, lines: [] },
      { ...right, lines: [{ sku: "tea", quantity: 0 }] },
      { ...right, lines: [...right.lines, { sku: "te a", quantity: 1 }] },
      { ...right, requestId: "no uuid" },
      { ...right, expiry: { case: "ttl", value: { seconds: 0n, nanos: 999_999_999 } } } as const,
      { ...right, expiry: { case: "ttl", value: { seconds: 2_592_000n, nanos: 1 } } } as const,
    ];
    for (const one of wrong) {
      const message = create(CreateReservationRequestSchema, one);
      assert.equal(
        check(message),
        false,
        JSON.stringify(one, (_, value) => String(value)),
      );
      assert.equal(isValid(CreateReservationRequestSchema, message), false);
    }
  });
});
