/** Bad input at each RPC: a clear refusal that names the field, nothing written, no process down. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorFromJsonBytes } from "@connectrpc/connect/protocol-connect";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderService } from "#proto/holdfast/order/v1/order_pb.ts";
import { errorOf, requestOf } from "../demo/json-transport.ts";
import { failureOfBytes, paddedTo, withoutUtf8 } from "./bytes.ts";
import { mistype, type Sample, samples, spoil } from "./requests.ts";
import { countRows } from "./rows.ts";
import {
  type Failure,
  failureOf,
  readFailure,
  receive,
  startTestSystem,
  type TestSystem,
  until,
} from "./testing.ts";

const MESSAGE_MAX_BYTES = 1_048_576;

let system: TestSystem;
let pids: ReadonlyMap<string, number>;

before(async () => {
  system = await startTestSystem();
  pids = system.stack.processes();
});

after(() => system?.stop());

type Answer = Failure & { readonly status: number };

/** Sends a body as it is, and reads the error in the answer. */
async function post(path: string, init: RequestInit): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${system.url}${path}`, { method: "POST", headers, ...init });
  const text = await response.text();
  return { ...readFailure(errorOf(response, text)), status: response.status };
}

/** The same request over plain JSON. */
async function overJson({ method }: Sample, json: JsonObject): Promise<Answer> {
  const { verb, path, body } = requestOf(method, json);
  return await post(path, { method: verb, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
}

/** The same request over gRPC. */
async function overGrpc({ method }: Sample, json: JsonObject): Promise<Failure> {
  const request = fromJson(method.input, json);
  const { transport } = system.over.gRPC;
  return await failureOf(transport.unary(method, undefined, undefined, undefined, request));
}

/** The same request over Connect with JSON, whose errors are of another shape. */
async function overConnect({ method }: Sample, json: JsonObject): Promise<Answer> {
  const response = await fetch(`${system.url}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(json),
  });
  const text = await response.text();
  const none = new ConnectError(`no error of Connect: ${text}`, Code.Unknown);
  const error = errorFromJsonBytes(new TextEncoder().encode(text), response.headers, none);
  return { ...readFailure(error), status: response.status };
}

/** Whether an id or a sku stands in the path of a method: without it, it is another path. */
function isInPath({ method, json }: Sample, path: string): boolean {
  const field = method.input.fields.find(({ name }) => name === path);
  if (!field) return false;
  const { path: url } = requestOf(method, { ...json, [field.jsonName]: "in-the-path" });
  return url.split("?")[0]?.includes("in-the-path") === true;
}

/** Adds to the problems what an answer lacks. */
function judge(problems: string[], what: string, answer: Failure & { status?: number }, path: string): void {
  const { status = 400, code, reason, fields } = answer;
  const isRight = status === 400 && code === "InvalidArgument" && reason === "INVALID_FIELD";
  // The gateway knows the values of an enum itself, and names the field in its message only.
  if (isRight && (fields.includes(path) || answer.message.startsWith(`${path}: `))) return;
  problems.push(`${what}: ${status} ${code} ${reason} [${fields.join()}] ${answer.message}`);
}

test("every RPC of the contract is in the list", () => {
  const all = [OrderService, InventoryService].flatMap(({ name, methods }) =>
    methods.map((method) => `${name}.${method.name}`),
  );
  assert.deepEqual(samples.map(({ name }) => name).sort(), all.sort());
});

for (const sample of samples) {
  const { name, method, json } = sample;
  const rule = requestOf(method, json);

  test(`${name} names each field that breaks a rule, and writes nothing`, async () => {
    const present = await countRows(system);
    const problems: string[] = [];
    for (const spoiled of spoil(sample)) {
      const what = `${spoiled.path} ${spoiled.what}`;
      judge(problems, `gRPC ${what}`, await overGrpc(sample, spoiled.json), spoiled.path);
      if (spoiled.what === '""' && isInPath(sample, spoiled.path)) continue;
      judge(problems, `JSON ${what}`, await overJson(sample, spoiled.json), spoiled.path);
    }
    assert.deepEqual(problems, []);
    assert.deepEqual(await countRows(system), present);
  });

  test(`${name} refuses values of another type and fields that are not there`, async () => {
    const present = await countRows(system);
    const problems: string[] = [];
    for (const { path, what, json: mistyped } of mistype(sample)) {
      if (isInPath(sample, path)) continue;
      const isLost = rule.body === undefined && what.startsWith("{");
      const names = [path, path.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];
      const judgeNamed = (over: string, { status, reason, fields, message }: Answer) => {
        const isNamed = names.some((one) => message.includes(one) || fields.includes(one));
        if (isNamed && status === 400 && reason === "INVALID_FIELD") return;
        problems.push(`${over} ${path} ${what}: ${status} ${reason} [${fields.join()}] ${message}`);
      };
      if (!isLost) judgeNamed("JSON", await overJson(sample, mistyped));
      judgeNamed("Connect", await overConnect(sample, mistyped));
    }
    judge(problems, "unknown field", await overConnect(sample, { ...json, colour: "blue" }), "colour");
    assert.deepEqual(problems, []);
    assert.deepEqual(await countRows(system), present);
  });

  test(`${name} refuses bytes that are no message, no UTF-8 or too many`, async () => {
    const present = await countRows(system);
    const request = fromJson(method.input, json);
    const problems: string[] = [];
    const expect = (what: string, { code, reason, message }: Failure, codes = ["InvalidArgument"]) => {
      if (codes.includes(code) && reason !== "") return;
      problems.push(`${what}: ${code} ${reason} ${message}`);
    };
    expect("no message", await failureOfBytes(system.url, method, Uint8Array.of(0xff, 0xff, 0xff)));
    for (const { path, bytes } of withoutUtf8(method.input, request)) {
      expect(`no UTF-8 in ${path}`, await failureOfBytes(system.url, method, bytes));
    }
    const tooMany = paddedTo(method.input, request, MESSAGE_MAX_BYTES + 1);
    assert.equal(tooMany.length, MESSAGE_MAX_BYTES + 1);
    const codes = ["InvalidArgument", "ResourceExhausted"];
    expect("too many", await failureOfBytes(system.url, method, tooMany), codes);
    if (rule.body !== undefined) {
      const { verb, path } = rule;
      const start = '{"note": "';
      const body = `${start}${"x".repeat(MESSAGE_MAX_BYTES + 1 - start.length - 2)}"}`;
      const large = await post(path, { method: verb, body });
      if (large.status !== 413 || large.reason === "") problems.push(`JSON too many: ${large.status}`);
      const invalid = Buffer.from('{"requestId": "\u00ff"}', "latin1");
      const garbled = await post(path, { method: verb, body: invalid });
      if (garbled.status !== 400 || garbled.reason === "") problems.push(`JSON no UTF-8: ${garbled.status}`);
      const broken = await post(path, { method: verb, body: "{" });
      if (broken.status !== 400 || broken.reason === "") problems.push(`JSON broken: ${broken.status}`);
    } else {
      const separator = rule.path.includes("?") ? "&" : "?";
      const unknown = await post(`${rule.path}${separator}colour=blue`, { method: rule.verb });
      if (unknown.status !== 400 || unknown.reason === "")
        problems.push(`unknown parameter: ${unknown.status}`);
      const garbled = await post(`${rule.path}${separator}page_token=%FF`, { method: rule.verb });
      if (garbled.status !== 400 || garbled.reason === "") problems.push(`query no UTF-8: ${garbled.status}`);
    }
    assert.deepEqual(problems, []);
    assert.deepEqual(await countRows(system), present);
  });
}

test("what is not there is NOT_FOUND, says what it is, and writes nothing", async () => {
  const sku = await receive(system, 5, "there");
  const present = await countRows(system);
  const unknown = "no-such-mug";
  for (const protocol of ["gRPC", "JSON"] as const) {
    const { orders, inventory } = system.over[protocol];
    const lines = [
      { sku, quantity: 1 },
      { sku: unknown, quantity: 1 },
    ];
    for (const call of [
      () => orders.createOrder({ customerId: "ann", lines }),
      () => inventory.createReservation({ lines, owner: "till 1" }),
    ]) {
      const failure = await failureOf(call());
      assert.deepEqual([failure.code, failure.reason], ["NotFound", "ITEM_NOT_FOUND"]);
      assert.deepEqual(failure.fields, ["lines[1].sku"]);
      assert.equal(failure.metadata["sku"], unknown);
    }
    const elsewhere = [{ sku, quantity: 1, locationId: "nowhere" }];
    const nowhere = await failureOf(orders.createOrder({ customerId: "ann", lines: elsewhere }));
    assert.deepEqual([nowhere.reason, nowhere.fields], ["LOCATION_NOT_FOUND", ["lines[0].location_id"]]);
    const orderId = "0198a8a8-0000-7000-8000-000000000001";
    for (const [reason, call] of [
      ["ITEM_NOT_FOUND", () => inventory.getItem({ sku: unknown })],
      ["ITEM_NOT_FOUND", () => inventory.updateItem({ sku: unknown, displayName: "Mug" })],
      ["ITEM_NOT_FOUND", () => inventory.archiveItem({ sku: unknown })],
      ["ITEM_NOT_FOUND", () => inventory.getStock({ sku: unknown })],
      ["ITEM_NOT_FOUND", () => inventory.explainStock({ sku: unknown })],
      ["ITEM_NOT_FOUND", () => inventory.listMovements({ sku: unknown })],
      ["ITEM_NOT_FOUND", () => inventory.checkStock({ lines })],
      ["ITEM_NOT_FOUND", () => inventory.adjustStock({ changes: [{ sku: unknown, delta: 1 }] })],
      ["ORDER_NOT_FOUND", () => orders.getOrder({ orderId })],
      ["ORDER_NOT_FOUND", () => orders.listOrderHistory({ orderId })],
      ["ORDER_NOT_FOUND", () => orders.settleOrder({ orderId })],
      ["ORDER_NOT_FOUND", () => orders.cancelOrder({ orderId })],
      ["ORDER_NOT_FOUND", () => orders.extendOrder({ orderId, ttl: { seconds: 60n } })],
      ["RESERVATION_NOT_FOUND", () => inventory.getReservation({ reservationId: orderId })],
      ["RESERVATION_NOT_FOUND", () => inventory.commitReservation({ reservationId: orderId })],
      ["RESERVATION_NOT_FOUND", () => inventory.releaseReservation({ reservationId: orderId })],
      [
        "RESERVATION_NOT_FOUND",
        () => inventory.extendReservation({ reservationId: orderId, ttl: { seconds: 60n } }),
      ],
    ] as const) {
      const failure = await failureOf(call());
      assert.deepEqual([failure.code, failure.reason], ["NotFound", reason]);
    }
  }
  assert.deepEqual(await countRows(system), present);
});

test("an unknown path, an unknown method and an unknown RPC are told as such", async () => {
  const path = await fetch(`${system.url}/v1/colours`);
  assert.equal(path.status, 404);
  assert.equal(path.headers.get("content-type"), "application/json");
  const verb = await fetch(`${system.url}/v1/orders`, { method: "DELETE" });
  assert.equal(verb.status, 404);
  const rpc = await fetch(`${system.url}/holdfast.order.v1.OrderService/Nothing`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  assert(rpc.status >= 400 && rpc.status < 500, `${rpc.status}`);
});

test("after all this, the same processes run, and none has met an error of its own", async () => {
  assert.deepEqual(system.stack.processes(), pids);
  for (const [process, path] of [
    ["order-1", "/v1/orders"],
    ["inventory-1", "/v1/items"],
  ] as const) {
    // A call that each logs after all the others.
    const id = randomUUID();
    await fetch(`${system.url}${path}`, { headers: { "x-request-id": id } });
    await until(
      `${process} has logged the last call`,
      () => system.logOf(process).includes(id),
      (has) => has,
    );
    assert.doesNotMatch(system.logOf(process), /INTERNAL_ERROR|"level":"(error|fatal)"/);
  }
});
