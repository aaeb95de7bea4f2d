/** Random operations on one item, side by side with a model of what must be: a few numbers in memory. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { isRetriable } from "../demo/patience.ts";
import { INSTANCES, receiveItems, type System } from "./system.ts";

type State = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";
type Known = { readonly quantity: number; state: State; dueAtMs: number; request: () => Promise<unknown> };

/** What the item must be like, and the system that it is compared with. */
type Model = { onHand: number; reserved: number; readonly reservations: Map<string, Known> };
type Real = { readonly system: System; readonly sku: string; crashes: number };

const PATIENCE_MS = 60_000;
const LONG_TTL_S = 3_600;
const SHORT_TTL_S = 1;
/**
 * What is due is expired by the database's clock, which a reservation that is nearly due may be on either
 * side of.
 */
const EXPIRY_SLACK_MS = 10_000;

/**
 * Runs so many random operations (reserve, commit, release, extend, adjust, expire, replay, crash), compares
 * each answer and, after each, the counters with the model, and returns how many crashes were among them.
 */
export async function runAgainstModel(system: System, operations: number, seed: number): Promise<number> {
  const [sku = ""] = await receiveItems(system, 1, 20);
  const real: Real = { system, sku, crashes: 0 };
  const model: Model = { onHand: 20, reserved: 0, reservations: new Map() };
  for (const operation of fc.sample(operationArbitrary, { numRuns: operations, seed })) {
    await perform(operation, model, real);
    await compareCounters(operation, model, real);
  }
  return real.crashes;
}

type Operation =
  | { readonly kind: "reserve"; readonly quantity: number; readonly isShort: boolean }
  | { readonly kind: "commit" | "release" | "extend" | "replay" | "expire"; readonly pick: number }
  | { readonly kind: "adjust"; readonly delta: number }
  | { readonly kind: "crash"; readonly pick: number };

const pick = fc.nat({ max: 1_000_000 });
const operationArbitrary: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 400,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      quantity: fc.integer({ min: 1, max: 6 }),
      isShort: fc.boolean(),
    }),
  },
  {
    weight: 500,
    arbitrary: fc.record({
      kind: fc.constantFrom("commit" as const, "release" as const, "extend" as const, "replay" as const),
      pick,
    }),
  },
  {
    weight: 150,
    arbitrary: fc.record({ kind: fc.constant("adjust" as const), delta: fc.integer({ min: -8, max: 9 }) }),
  },
  { weight: 20, arbitrary: fc.record({ kind: fc.constant("expire" as const), pick }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("crash" as const), pick }) },
);

async function perform(operation: Operation, model: Model, real: Real): Promise<void> {
  switch (operation.kind) {
    case "reserve":
      return await reserve(operation, model, real);
    case "adjust":
      return await adjust(operation.delta, model, real);
    case "crash":
      return await crash(operation.pick, real);
    default: {
      settleDue(model);
      const ids = [...model.reservations.keys()];
      const id = ids[operation.pick % Math.max(ids.length, 1)];
      const known = id === undefined ? undefined : model.reservations.get(id);
      if (id === undefined || !known) return;
      if (operation.kind === "replay") return await replay(known);
      if (operation.kind === "expire") return await expire(id, known, model, real);
      return await change(operation.kind, id, known, model, real);
    }
  }
}

async function reserve(
  { quantity, isShort }: { quantity: number; isShort: boolean },
  model: Model,
  { system, sku }: Real,
): Promise<void> {
  const reservationId = randomUUID();
  const ttl = { seconds: BigInt(isShort ? SHORT_TTL_S : LONG_TTL_S) };
  const request = {
    reservationId,
    requestId: randomUUID(),
    owner: "the model",
    lines: [{ sku, quantity }],
    expiry: { case: "ttl" as const, value: ttl },
  };
  const call = () => patiently(() => system.inventory.createReservation(request));
  // Too early, if anything: it counts from when the database has it.
  const dueAtMs = performance.now() + Number(ttl.seconds) * 1_000;
  const outcome = await call();
  // Reservations that are due may have expired just before this one, or not.
  settleDue(model, outcome === "OK" && model.onHand - model.reserved < quantity);
  const expected = model.onHand - model.reserved >= quantity ? "OK" : "INSUFFICIENT_STOCK";
  expectSame(`reserve ${quantity}`, outcome, expected);
  if (outcome !== "OK") return;
  model.reserved += quantity;
  model.reservations.set(reservationId, { quantity, state: "ACTIVE", dueAtMs, request: call });
}

async function change(
  kind: "commit" | "release" | "extend",
  reservationId: string,
  known: Known,
  model: Model,
  { system: { inventory } }: Real,
): Promise<void> {
  const request = { reservationId, requestId: randomUUID() };
  const outcome = await patiently(() => {
    if (kind === "commit") return inventory.commitReservation(request);
    if (kind === "release") return inventory.releaseReservation(request);
    return inventory.extendReservation({ ...request, ttl: { seconds: BigInt(LONG_TTL_S) } });
  });
  // One that is due within the slack may have expired before the call.
  if (outcome === "RESERVATION_EXPIRED" && isNearlyDue(known)) end(known, "EXPIRED", model);
  const wanted = kind === "commit" ? "COMMITTED" : kind === "release" ? "RELEASED" : "ACTIVE";
  const expected = known.state === "ACTIVE" ? "OK" : `RESERVATION_${known.state}`;
  expectSame(`${kind} a reservation that is ${known.state}`, outcome, expected);
  if (outcome !== "OK" || known.state !== "ACTIVE") return;
  if (kind === "extend") known.dueAtMs = performance.now() + LONG_TTL_S * 1_000;
  else end(known, wanted === "COMMITTED" ? "COMMITTED" : "RELEASED", model);
}

async function adjust(delta: number, model: Model, { system, sku }: Real): Promise<void> {
  if (delta === 0) return;
  const request = { requestId: randomUUID(), reason: "counted", changes: [{ sku, delta }] };
  const outcome = await patiently(() => system.inventory.adjustStock(request));
  settleDue(model, outcome === "OK" && model.onHand + delta < model.reserved);
  const isAllowed = model.onHand + delta >= model.reserved;
  if (isAllowed) expectSame(`adjust by ${delta}`, outcome, "OK");
  else if (outcome === "OK") throw new Error(`adjust by ${delta} went below what is reserved`);
  if (outcome === "OK") model.onHand += delta;
}

async function replay(known: Known): Promise<void> {
  expectSame("the same reserve again", await known.request(), "OK");
}

async function expire(id: string, known: Known, model: Model, { system }: Real): Promise<void> {
  if (known.state !== "ACTIVE" || !isNearlyDue(known)) return;
  const deadline = performance.now() + 2 * EXPIRY_SLACK_MS;
  for (;;) {
    const { reservation } = await system.inventory.getReservation({ reservationId: id });
    const sql = system.inventoryDatabase;
    const [live] = await sql`select 1 from reservations where reservation_id = ${id}`;
    if (reservation && !live) break;
    if (performance.now() > deadline) throw new Error(`reservation ${id} did not expire`);
    await pause(50);
  }
  end(known, "EXPIRED", model);
}

async function crash(choice: number, real: Real): Promise<void> {
  const instances = INSTANCES.filter((name) => name.startsWith("inventory"));
  const name = instances[choice % instances.length] ?? "inventory-1";
  await real.system.stack.kill(name, "SIGKILL");
  real.crashes += 1;
}

function end(known: Known, state: State, model: Model): void {
  if (known.state !== "ACTIVE") return;
  known.state = state;
  model.reserved -= known.quantity;
  if (state === "COMMITTED") model.onHand -= known.quantity;
}

function isNearlyDue({ dueAtMs }: Known): boolean {
  return dueAtMs - performance.now() < EXPIRY_SLACK_MS;
}

// Ends what is long overdue in the model; with `all`, also what is due now and may have expired in the
// system.
function settleDue(model: Model, all = false): void {
  for (const known of model.reservations.values()) {
    if (known.state !== "ACTIVE") continue;
    const overdueMs = performance.now() - known.dueAtMs;
    if (overdueMs > EXPIRY_SLACK_MS || (all && overdueMs > 0)) end(known, "EXPIRED", model);
  }
}

async function compareCounters(operation: Operation, model: Model, { system, sku }: Real): Promise<void> {
  const deadline = performance.now() + EXPIRY_SLACK_MS;
  for (;;) {
    const { stock } = await system.inventory.getStock({ sku }).catch(() => ({ stock: undefined }));
    const due = [...model.reservations.values()].filter(
      ({ state, dueAtMs }) => state === "ACTIVE" && dueAtMs - performance.now() < 0,
    );
    const least = model.reserved - due.reduce((total, { quantity }) => total + quantity, 0);
    if (stock?.onHand === model.onHand && stock.reserved <= model.reserved && stock.reserved >= least) return;
    if (performance.now() > deadline) {
      const is = `on_hand ${stock?.onHand}, reserved ${stock?.reserved}`;
      const should = `on_hand ${model.onHand}, reserved ${least} to ${model.reserved}`;
      throw new Error(`after ${JSON.stringify(operation)}: ${is}, and should be ${should}`);
    }
    await pause(50);
  }
}

async function patiently(call: () => Promise<unknown>): Promise<string> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await call();
      return "OK";
    } catch (error) {
      const failure = ConnectError.from(error);
      if (isRetriable(failure) && performance.now() < deadline) await pause(50);
      else return failure.findDetails(ErrorInfoSchema)[0]?.reason ?? failure.message;
    }
  }
}

function expectSame(what: string, actual: unknown, expected: string): void {
  if (actual !== expected)
    throw new Error(`${what}: the system says ${String(actual)}, the model ${expected}`);
}
