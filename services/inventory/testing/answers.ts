/** What the tests of the calls ask and expect. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DomainError } from "#libs/reasons";
import { testCall } from "#libs/testing";
import {
  AdjustStockRequestSchema,
  GetStockRequestSchema,
  VerifyStockRequestSchema,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import type { Instance, Scene } from "./scene.ts";

/** The refusal of a call; a call that is not refused, or fails in another way, is an error. */
export async function refusal(work: Promise<unknown>): Promise<DomainError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

/** on_hand, reserved and available of an item. */
export async function countersOf({ api }: Instance, sku: string): Promise<(number | undefined)[]> {
  const { stock } = await api.getStock(create(GetStockRequestSchema, { sku }), testCall());
  return [stock?.onHand, stock?.reserved, stock?.available];
}

/** Fails unless counters, ledger and live reservations of everything agree. */
export async function assertConsistent({ api }: Instance): Promise<void> {
  const verified = await api.verifyStock(create(VerifyStockRequestSchema), testCall());
  assert.deepEqual(verified.differences, []);
  assert.equal(verified.consistent, true);
}

/** A request of AdjustStock for one item at `main`. */
export function adjustRequest(
  sku: string,
  delta: number,
  fields: { reason?: string; reference?: string; requestId?: string } = {},
) {
  return create(AdjustStockRequestSchema, { ...fields, changes: [{ sku, delta }] });
}

/**
 * Sends the same request ten times at once, to two instances, and expects ten equal answers; returns one of
 * them.
 */
export async function tenTimes<Answer>(
  scene: Scene,
  send: (api: Scene["api"]) => Promise<Answer>,
): Promise<Answer> {
  const apis = [scene.api, scene.another().api];
  const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => send(apis[at % 2] ?? scene.api)));
  const [first] = answers;
  assert.ok(first);
  for (const answer of answers) assert.deepEqual(answer, first);
  return first;
}
