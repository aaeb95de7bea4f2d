/**
 * Inventory without its timers, consumers and relay, so that two ways of carrying out calls can be compared
 * with nothing else between them.
 */
import type { Logger } from "pino";
import { Registry } from "prom-client";
import type { Sql } from "#libs/db";
import { startRpcServer } from "#libs/rpc";
import { createInventoryServices } from "../../services/inventory/api.ts";
import { type Changes, createChanges } from "../../services/inventory/changes.ts";
import type { StockCall, StockResult } from "../../services/inventory/domain/calls.ts";
import { createStockMetrics } from "../../services/inventory/metrics.ts";
import { changeStock } from "../../services/inventory/store/change.ts";
import { connectStore } from "../../services/inventory/store/connect.ts";
import { createKnownNudges } from "../../services/inventory/store/nudges.ts";

/** Serves Inventory's calls as it does: gathered while the batch before them is under way. */
export async function serveGathering(address: string, databaseUrl: string, log: Logger): Promise<void> {
  const sql = connectStore(databaseUrl, "gathering");
  const metrics = createStockMetrics(new Registry());
  await serve(address, sql, log, createChanges({ sql, publish: () => {}, metrics }));
}

/** Serves the same calls, but each is carried out at once and by itself. */
export async function serveUnbatched(address: string, databaseUrl: string, log: Logger): Promise<void> {
  const sql = connectStore(databaseUrl, "unbatched");
  // What is written to the outbox the real instance sends.
  const context = { sql, knownNudges: createKnownNudges(), publish: () => {}, observe: () => {} };

  async function carryOut(tenant: string, call: StockCall): Promise<StockResult> {
    const [outcome] = await changeStock(context, tenant, [call]);
    if (!outcome) throw new Error("the call was left without an answer");
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  }

  await serve(address, sql, log, {
    reservation: async (tenant, call) => {
      const result = await carryOut(tenant, call);
      if (result.kind !== "reservation") throw new Error("answered with an adjustment");
      return result.reservation;
    },
    adjustment: async (tenant, call) => {
      const result = await carryOut(tenant, call);
      if (result.kind !== "adjustment") throw new Error("answered with a reservation");
      return result.movements;
    },
    stop: async () => {},
  });
}

async function serve(address: string, sql: Sql, log: Logger, changes: Changes): Promise<void> {
  const services = createInventoryServices({ sql, ledgerSql: sql, changes });
  await startRpcServer({ address, services, reflected: [], log });
}
