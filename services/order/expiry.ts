import { setTimeout as pause } from "node:timers/promises";
import { createTurns } from "#libs/boot";
import { inTransaction, type Sql } from "#libs/db";
import { nudgeCutShort } from "#libs/events";
import type { Announcer } from "./announcer.ts";
import { failAttempt } from "./domain/late.ts";
import { limits } from "./domain/limits.ts";
import { type Actor, abandonment } from "./domain/order.ts";
import type { ExpiryTrigger, OrderMetrics } from "./metrics.ts";
import {
  abandonOrders,
  expireOrders,
  tenantsWithOldReserving,
  tenantsWithOverdueOrders,
} from "./store/expiry.ts";
import { lockOldAttempts, saveLateOrders, tenantsWithOldAttempts } from "./store/late.ts";
import { insertHistory, lockOrders } from "./store/orders.ts";

export type ExpiryParts = {
  readonly sql: Sql;
  readonly announcer: Announcer;
  readonly metrics: OrderMetrics;
};

/** What time does to orders. */
export type Expiry = {
  /**
   * Expires what is due of a tenant, however much it is. Rejects when it is stopped before: the nudge has to
   * come again, to somebody else.
   */
  expireDue(tenant: string): Promise<void>;
  /** Expires what is overdue of every tenant: what the nudges have missed. */
  sweep(): Promise<void>;
  /**
   * Gives up what has waited for Inventory's answer for longer than `ageMs`, and the stock that it may have:
   * orders that are RESERVING, and late payments, which are to be given back.
   */
  recover(ageMs: number): Promise<void>;
  /** Ends what is under way with its batch, and what comes then before its first. */
  stop(): void;
};

/** Makes the expiry of a process. Several of them, of one process or of many, share the work. */
export function createExpiry({ sql, announcer, metrics }: ExpiryParts): Expiry {
  // Nudges that come together, after an absence of the broker, take turns: the first does the work of all.
  const inTurn = createTurns();
  /** Tenants whose nudge is being answered here. */
  const nudged = new Set<string>();
  let stopped = false;

  async function expireNudged(tenant: string): Promise<void> {
    nudged.add(tenant);
    try {
      await expireBatches(tenant, "nudge", 0);
    } finally {
      nudged.delete(tenant);
    }
    if (stopped) throw nudgeCutShort();
  }

  async function expireBatches(
    tenant: string,
    actor: Actor & ExpiryTrigger,
    overdueMs: number,
  ): Promise<void> {
    let fromTime = 0;
    while (!stopped) {
      const startedAt = performance.now();
      const window = { fromTime, overdueMs, limit: limits.expiryBatch };
      const { expired, announcement } = await inTransaction(sql, async (tx) => {
        const rows = await expireOrders(tx, tenant, window, actor);
        const news = rows.map(({ orderId, expireTime, endTime }) => ({
          event: { type: "OrderExpired", orderId, expireTime, time: endTime } as const,
        }));
        return { expired: rows, announcement: await announcer.write(tx, tenant, news) };
      });
      announcer.send(announcement);
      metrics.countOrders("EXPIRED", expired.length);
      metrics.countExpiries(
        actor,
        expired.map(({ expireTime, endTime }) => endTime - expireTime),
      );
      if (expired.length < limits.expiryBatch) return;
      // Beside a nudge's work a sweep would double the pace, and callers would wait for longer; but what the
      // nudge passed over is the oldest, and went with the sweep's first batch.
      if (actor === "sweeper" && nudged.has(tenant)) return;
      // What lies before is done or locked by others; looking at it again would make a long queue slow.
      fromTime = expired.reduce((latest, { expireTime }) => Math.max(latest, expireTime), fromTime);
      // Most of the time is the callers', here and where the events arrive.
      const tookMs = performance.now() - startedAt;
      const restMs = Math.min(limits.expiryRest * tookMs, limits.expiryRestMaxMs);
      await pause(Math.max(restMs, limits.expiryIntervalMs - tookMs));
    }
  }

  async function abandonAll(tenant: string, ageMs: number): Promise<void> {
    while (!stopped) {
      const { abandoned, announcement } = await inTransaction(sql, async (tx) => {
        const rows = await abandonOrders(tx, tenant, ageMs, limits.expiryBatch);
        const news = rows.map(({ orderId, time }) => ({
          event: { type: "OrderAbandoned", orderId, time } as const,
        }));
        return { abandoned: rows, announcement: await announcer.write(tx, tenant, news) };
      });
      announcer.send(announcement);
      metrics.countOrders("REJECTED", abandoned.length);
      if (abandoned.length < limits.expiryBatch) return;
    }
  }

  async function failOldAttempts(tenant: string, ageMs: number): Promise<void> {
    while (!stopped) {
      const { failed, announcement } = await inTransaction(sql, async (tx) => {
        const orderIds = await lockOldAttempts(tx, tenant, ageMs, limits.expiryBatch);
        const { now, orders } = await lockOrders(tx, tenant, orderIds);
        const saved = [...orders.values()].map((order) => ({
          change: failAttempt(order, now, abandonment.reason, "recovery"),
          judgedVersion: order.version,
        }));
        const changes = saved.map(({ change }) => change);
        await saveLateOrders(
          tx,
          tenant,
          saved.map(({ change: { order }, judgedVersion }) => ({ order, judgedVersion })),
        );
        await insertHistory(
          tx,
          tenant,
          changes.map(({ transition }) => transition),
        );
        const news = changes.flatMap(({ events }) => events.map((event) => ({ event })));
        return { failed: changes, announcement: await announcer.write(tx, tenant, news) };
      });
      announcer.send(announcement);
      for (const { events } of failed) metrics.countLatePayments(events);
      if (failed.length < limits.expiryBatch) return;
    }
  }

  return {
    expireDue: (tenant) => inTurn(() => expireNudged(tenant)),
    sweep: async () => {
      for (const tenant of await tenantsWithOverdueOrders(sql, limits.sweepGraceMs)) {
        await expireBatches(tenant, "sweeper", limits.sweepGraceMs);
      }
    },
    recover: async (ageMs) => {
      for (const tenant of await tenantsWithOldReserving(sql, ageMs)) await abandonAll(tenant, ageMs);
      for (const tenant of await tenantsWithOldAttempts(sql, ageMs)) await failOldAttempts(tenant, ageMs);
    },
    stop: () => {
      stopped = true;
    },
  };
}
