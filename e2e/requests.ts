/** A sound request of every RPC of the contract, and everything that can be wrong with each of its fields. */
import { randomUUID } from "node:crypto";
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethodUnary,
  type JsonObject,
  type JsonValue,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";

export type Sample = {
  readonly name: string;
  readonly method: DescMethodUnary;
  /** The request, as JSON. */
  readonly json: JsonObject;
};

/** A request with one field spoiled, and what its caller must be told of. */
export type Spoiled = {
  /** The field's path, as errors have it: `lines[0].unit_amount`. */
  readonly path: string;
  /** What was done to it, for a person. */
  readonly what: string;
  readonly json: JsonObject;
};

function sample<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  init: MessageInitShape<I>,
): Sample {
  const json = toJson(method.input, create(method.input, init));
  if (!isObject(json)) throw new Error(`${method.name} takes no object`);
  return { name: `${method.parent.name}.${method.name}`, method, json };
}

const { method: orders } = OrderService;
const { method: inventory } = InventoryService;
const sku = "mug";
const orderId = randomUUID();
const reservationId = randomUUID();
const ttl = { seconds: 600n };
const request = () => ({ requestId: randomUUID() });
const lines = [{ sku, quantity: 2, locationId: "main" }];
const pricedLines = [{ sku, quantity: 2, locationId: "main", unitAmount: 1_190n }];
const page = { pageSize: 10, pageToken: "" };

/** One sound request of each RPC; nothing that it names need be there. */
export const samples: readonly Sample[] = [
  sample(orders.createOrder, {
    ...request(),
    customerId: "ann",
    lines: pricedLines,
    currency: "EUR",
    ttl,
    orderId,
  }),
  sample(orders.getOrder, { orderId }),
  sample(orders.listOrders, { state: 2, customerId: "ann", refundRequired: true, ...page }),
  sample(orders.settleOrder, { ...request(), orderId, paymentReference: "card", latePolicy: 2 }),
  sample(orders.resolveRefund, { ...request(), orderId, resolution: "refund 12" }),
  sample(orders.cancelOrder, { ...request(), orderId, reason: "changed my mind" }),
  sample(orders.extendOrder, { ...request(), orderId, ttl }),
  sample(orders.listOrderHistory, { orderId, ...page }),
  sample(inventory.createItem, { ...request(), sku, displayName: "Mug", reorderPoint: 5 }),
  sample(inventory.getItem, { sku }),
  sample(inventory.updateItem, { ...request(), sku, displayName: "Mug", reorderPoint: 5 }),
  sample(inventory.archiveItem, { ...request(), sku }),
  sample(inventory.listItems, { state: 1, ...page }),
  sample(inventory.createLocation, { ...request(), locationId: "shop", displayName: "Shop" }),
  sample(inventory.listLocations, page),
  sample(inventory.adjustStock, {
    ...request(),
    changes: [{ sku, delta: 3, locationId: "main", expectedOnHand: 0 }],
    reason: "delivery",
  }),
  sample(inventory.getStock, { sku }),
  sample(inventory.listStock, { skus: [sku], ...page }),
  sample(inventory.checkStock, { lines }),
  sample(inventory.explainStock, { sku, ...page }),
  sample(inventory.listMovements, { sku, locationId: "main", ...page }),
  sample(inventory.verifyStock, { skus: [sku] }),
  sample(inventory.createReservation, {
    ...request(),
    lines,
    owner: "till 1",
    expiry: { case: "ttl", value: ttl },
    reservationId,
  }),
  sample(inventory.getReservation, { reservationId }),
  sample(inventory.listReservations, { state: 1, owner: "till 1", ...page }),
  sample(inventory.commitReservation, { ...request(), reservationId }),
  sample(inventory.releaseReservation, { ...request(), reservationId }),
  sample(inventory.extendReservation, { ...request(), reservationId, ttl }),
];

const tooLong = "x".repeat(1_001);
const notSkus = ["two words", "-mug", "mug/2", "müg", "x".repeat(65)];
const notUuids = ["mug", "0198a8a8-0000-7000-8000-00000000000", "{0198a8a8-0000-7000-8000-000000000001}"];
const notTtls = ["0s", "-1s", "0.999s", "2592001s"];

/** Values of the right type that each field, by its name, must not have; fields without a rule have none. */
const badValues: Readonly<Record<string, readonly JsonValue[]>> = {
  sku: ["", ...notSkus],
  location_id: notSkus,
  order_id: notUuids,
  reservation_id: notUuids,
  request_id: notUuids,
  quantity: [0, -1, 1_000_001, 2_147_483_647],
  delta: [0, 1_000_000_001, -1_000_000_001],
  expected_on_hand: [-1],
  unit_amount: ["-1", "10000000001", "9223372036854775807"],
  reorder_point: [-1, 1_000_000_001],
  page_size: [-1, 501],
  page_token: ["garbage", Buffer.from("[1,2]").toString("base64url"), tooLong],
  state: [99, -1],
  customer_id: [tooLong],
  owner: [tooLong],
  currency: ["eur", "EURO", "€"],
  ttl: notTtls,
  expire_time: ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"],
  note: [tooLong],
  reason: [tooLong],
  reference: [tooLong],
  payment_reference: [tooLong],
  display_name: [tooLong],
  resolution: ["", tooLong],
  late_policy: [99, -1],
  refund_required: [],
  validate_only: [],
};

/** What only some requests must not have: there the field is needed, or has a rule of its own. */
const badValuesOf: Readonly<Record<string, readonly JsonValue[]>> = {
  "CreateOrderRequest.customer_id": [""],
  // The sample's line has a price.
  "CreateOrderRequest.currency": [""],
  "CreateReservationRequest.owner": ["", "orders/1"],
  "CreateLocationRequest.location_id": [""],
};
const REQUIRED_IDS = /^(Get|Settle|Cancel|Extend|Commit|Release|Resolve|ListOrderHistory)/;

const LISTS_MAX: Readonly<Record<string, number>> = { lines: 100, changes: 100, skus: 500 };
const LISTS_NEEDED = ["lines", "changes"];

/** Every way to spoil one field of a request with a value of its type. */
export function spoil({ method, json }: Sample): Spoiled[] {
  return spoilMessage(method.input, json, "", method.input.name);
}

function spoilMessage(desc: DescMessage, json: JsonObject, prefix: string, requestName: string): Spoiled[] {
  return desc.fields.flatMap((field) => {
    const path = `${prefix}${field.name}`;
    const set = (value: JsonValue, what: string, at = path): Spoiled => {
      const rest = { ...json };
      // Of a oneof only one is set.
      for (const sibling of field.oneof?.fields ?? []) delete rest[sibling.jsonName];
      return { path: at, what, json: { ...rest, [field.jsonName]: value } };
    };
    if (field.fieldKind === "list") return spoilList(field, json, path, set, requestName);
    return badValuesFor(field, requestName).map((value) => set(value, describe(value)));
  });
}

function spoilList(
  field: DescField & { fieldKind: "list" },
  json: JsonObject,
  path: string,
  set: (value: JsonValue, what: string, at?: string) => Spoiled,
  requestName: string,
): Spoiled[] {
  const [first] = asList(json[field.jsonName]);
  const max = LISTS_MAX[field.name];
  if (first === undefined || max === undefined) throw new Error(`${path} needs an entry and a limit here`);
  const entries = Array.from({ length: max + 1 }, (_, index) => distinct(first, index));
  const spoiled = [set(entries, `${max + 1} entries`)];
  if (LISTS_NEEDED.includes(field.name)) spoiled.push(set([], "no entries"));
  const inner: Spoiled[] =
    field.listKind === "message" && isObject(first)
      ? spoilMessage(field.message, first, `${path}[0].`, requestName)
      : ["", ...notSkus].map((value) => ({ path: `${path}[0]`, what: describe(value), json: { value } }));
  for (const { path: at, what, json: entry } of inner) {
    spoiled.push(set([field.listKind === "message" ? entry : (entry["value"] ?? null)], what, at));
  }
  return spoiled;
}

function badValuesFor(field: DescField, requestName: string): readonly JsonValue[] {
  const bad = badValues[field.name];
  if (bad === undefined) throw new Error(`say which values ${field.name} of ${requestName} must not have`);
  const own = badValuesOf[`${requestName}.${field.name}`] ?? [];
  const isNeededId = /^(order|reservation)_id$/.test(field.name) && REQUIRED_IDS.test(requestName);
  return [...bad, ...own, ...(isNeededId ? [""] : [])];
}

/** Every way to give one field of a request a value of another type. */
export function mistype({ method, json }: Sample): Spoiled[] {
  return method.input.fields.map((field) => {
    const value = wrongTypeOf(field);
    return { path: field.name, what: describe(value), json: { ...json, [field.jsonName]: value } };
  });
}

function wrongTypeOf(field: DescField): JsonValue {
  if (field.fieldKind === "list") return { text: "mug" };
  if (field.fieldKind === "enum") return "NO_SUCH_STATE";
  if (field.fieldKind === "message") return "soon";
  const isText = /_(id|token|name|reference)$|^(sku|currency|note|reason|owner|reference|resolution)$/.test(
    field.name,
  );
  return isText ? { text: "mug" } : "many";
}

/** Entries of a list that are the same but for what must differ. */
function distinct(entry: JsonValue, index: number): JsonValue {
  return isObject(entry) ? { ...entry, sku: `mug-${index}` } : `mug-${index}`;
}

function describe(value: JsonValue): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.length - 2} characters` : text;
}

function asList(value: JsonValue | undefined): JsonValue[] {
  return Array.isArray(value) ? value : [];
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
