import type { Logger } from "pino";
import { startRpcServer } from "#libs/rpc";
import { createInventoryServices } from "../../services/inventory/api.ts";
import type { Changes } from "../../services/inventory/changes.ts";
import type { StockCall, StockResult } from "../../services/inventory/domain/calls.ts";
import { changeStock } from "../../services/inventory/store/change.ts";
import { connectStore } from "../../services/inventory/store/connect.ts";
import { createKnownNudges } from "../../services/inventory/store/nudges.ts";

/** Serves Inventory as it is, but each call is carried out at once and by itself instead of with others. */
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

  const changes: Changes = {
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
  };
  await startRpcServer({ address, services: createInventoryServices({ sql, changes }), reflected: [], log });
}
