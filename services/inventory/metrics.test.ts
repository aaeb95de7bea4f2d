import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { testCall } from "#libs/testing";
import { CommitReservationRequestSchema } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { assertConsistent, refusal } from "./testing/answers.ts";
import { createScene, reservationRequest, type Scene, stockItem } from "./testing/scene.ts";

let scene: Scene;
before(async () => {
  scene = await createScene();
  await stockItem(scene, "tea", 100);
});
after(() => scene.drop());

async function reserve(): Promise<string> {
  const { reservation } = await scene.api.createReservation(reservationRequest(), testCall());
  return reservation?.reservationId ?? "";
}

/** Makes a reservation's time run out, as waiting would. */
async function letFallDue(reservationId: string, overdueSeconds: number): Promise<void> {
  await scene.sql`
    update reservations
    set
      create_time = create_time - interval '1 hour',
      expire_time = now() - ${overdueSeconds} * interval '1 second'
    where reservation_id = ${reservationId}`;
}

/** The value of a line of the metrics, 0 if it is not there. */
async function metricOf(name: string): Promise<number> {
  const lines = (await scene.registry.metrics()).split("\n");
  const line = lines.find((text) => text.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

/** By how much all reservations that have expired were late, in seconds, as their rows say. */
async function lagInRows(): Promise<number> {
  const [row] = await scene.sql<{ seconds: number }[]>`
    select sum(extract(epoch from end_time - expire_time))::double precision as seconds
    from ended_reservations
    where state = 'EXPIRED'`;
  return row?.seconds ?? 0;
}

const lagOf = async () => ({
  count: await metricOf("expiry_lag_seconds_count"),
  sum: await metricOf("expiry_lag_seconds_sum"),
});

/** Longer than any test takes from the moment a reservation is made overdue. */
const PATIENCE_SECONDS = 20;

test("each expiry is counted by what triggered it and measured by how late it was, once", async () => {
  await reserve();
  const triggers = {
    nudge: { overdueSeconds: 30, expire: () => scene.expiry.expireDue("demo") },
    sweeper: { overdueSeconds: 300, expire: () => scene.expiry.sweep() },
    touch: {
      overdueSeconds: 3_000,
      expire: async (reservationId: string) => {
        const commit = create(CommitReservationRequestSchema, { reservationId });
        const { reason } = await refusal(scene.api.commitReservation(commit, testCall()));
        assert.equal(reason, "RESERVATION_EXPIRED");
      },
    },
  };
  let count = 0;
  for (const [trigger, { overdueSeconds, expire }] of Object.entries(triggers)) {
    const reservationId = await reserve();
    await letFallDue(reservationId, overdueSeconds);
    const lagBefore = await lagOf();
    // The second time nothing is left to expire.
    for (const _ of [1, 2]) await expire(reservationId);
    count += 1;
    const lag = await lagOf();
    assert.equal(lag.count, count);
    const lateSeconds = lag.sum - lagBefore.sum;
    assert.ok(
      lateSeconds >= overdueSeconds && lateSeconds < overdueSeconds + PATIENCE_SECONDS,
      `expired by ${trigger}, ${lateSeconds} s late`,
    );
    assert.ok(Math.abs(lag.sum - (await lagInRows())) < 0.001, "and it is what the rows say");
    assert.equal(await metricOf(`expiries_total{trigger="${trigger}"}`), 1);
  }
  await assertConsistent(scene);
});

test("reservations that expire in one batch are measured one by one", async () => {
  const lagBefore = await lagOf();
  for (const overdueSeconds of [30, 60, 90]) await letFallDue(await reserve(), overdueSeconds);
  await scene.expiry.expireDue("demo");
  const lag = await lagOf();
  assert.equal(lag.count - lagBefore.count, 3);
  const lateSeconds = lag.sum - lagBefore.sum;
  assert.ok(lateSeconds >= 180 && lateSeconds < 180 + 3 * PATIENCE_SECONDS, `${lateSeconds} s in all`);
});
