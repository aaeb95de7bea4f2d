/** The calls about the counters and their ledger. */
import { createTurns } from "#libs/boot";
import type { Sql } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { decodePageToken, encodePageToken, type Handlers, pageOf, pageSizeOf } from "#libs/rpc";
import type { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import type { Changes } from "../changes.ts";
import { holderKeyOf, movementKeyOf } from "../convert/pages.ts";
import { adjustCall, linesOf } from "../convert/requests.ts";
import { differenceMessage, holderMessage, movementMessage, stockMessage } from "../convert/responses.ts";
import { checkLines } from "../domain/check.ts";
import { sumLines } from "../domain/reservation.ts";
import { readItem } from "../store/items.ts";
import { listMovements } from "../store/movements.ts";
import { explainStock, listStock, readPlaces, readStock } from "../store/stock.ts";
import { verifyStock } from "../store/verify.ts";

type StockHandlers = Pick<
  Handlers<(typeof InventoryService)["method"]>,
  "adjustStock" | "getStock" | "listStock" | "checkStock" | "explainStock" | "listMovements" | "verifyStock"
>;

/** The handlers of stock. */
export function createStockHandlers(sql: Sql, ledgerSql: Sql, changes: Changes): StockHandlers {
  return {
    adjustStock: async (request, call) => {
      const asked = adjustCall(request);
      const movements = await changes.adjustment(call.caller.tenant, asked, () => call.isAbandoned());
      return { movements: movements.map(movementMessage) };
    },

    getStock: async ({ sku }, { caller }) => ({
      stock: stockMessage(await readStock(sql, caller.tenant, sku)),
    }),

    listStock: async ({ skus, pageSize, pageToken }, { caller }) => {
      const filter = ["stock", caller.tenant, ...[...new Set(skus)].sort()];
      const [after = ""] = decodePageToken(pageToken, filter, ["text"]) ?? [];
      const limit = pageSizeOf(pageSize);
      const found = await listStock(sql, caller.tenant, { skus, after, limit: limit + 1 });
      const { page, last } = pageOf(found, limit);
      return {
        stock: page.map(stockMessage),
        nextPageToken: last ? encodePageToken(filter, [last.sku]) : "",
      };
    },

    checkStock: async (request, { caller }) => {
      const lines = linesOf(request.lines);
      const checked = checkLines(await readPlaces(sql, caller.tenant, sumLines(lines)), lines);
      return { sufficient: checked.every((line) => line.sufficient), lines: checked };
    },

    ...createLedgerHandlers(sql, ledgerSql),
  };
}

function createLedgerHandlers(
  sql: Sql,
  ledgerSql: Sql,
): Pick<StockHandlers, "explainStock" | "listMovements" | "verifyStock"> {
  // A verification reads whole ledgers. They take turns, so that the other connections are left to those who
  // sell.
  const inTurn = createTurns();

  return {
    explainStock: async ({ sku, pageSize, pageToken }, { caller }) => {
      const filter = ["holders", caller.tenant, sku];
      const after = holderKeyOf(decodePageToken(pageToken, filter, ["text", "uuid"]));
      const limit = pageSizeOf(pageSize);
      const explanation = await explainStock(sql, caller.tenant, sku, { after, limit: limit + 1 });
      const { stock, holders, holderCount, recentMovements } = explanation;
      const { page, last } = pageOf(holders, limit);
      return {
        stock: stockMessage(stock),
        holders: page.map(holderMessage),
        holderCount,
        recentMovements: recentMovements.map(movementMessage),
        nextPageToken: last ? encodePageToken(filter, [last.locationId, last.reservationId]) : "",
      };
    },

    listMovements: async ({ sku, locationId, pageSize, pageToken }, { caller }) => {
      const filter = ["movements", caller.tenant, sku, locationId];
      const after = movementKeyOf(decodePageToken(pageToken, filter, ["time", "text", "number"]));
      const limit = pageSizeOf(pageSize);
      const wanted = { sku, locationId, after, limit: limit + 1 };
      const { page, last } = pageOf(await listMovements(sql, caller.tenant, wanted), limit);
      // Only what has no movements at all may be an item that is not there.
      if (page.length === 0) await readItem(sql, caller.tenant, sku);
      return {
        movements: page.map(movementMessage),
        nextPageToken: last
          ? encodePageToken(filter, [String(last.createTime), last.locationId, String(last.version)])
          : "",
      };
    },

    verifyStock: async ({ skus }, call) => {
      const verification = inTurn(() => verifyStock(ledgerSql, call.caller.tenant, skus, call));
      const verified = await verification.catch((error: unknown) => {
        throw call.isAbandoned() ? notVerifiedInTime() : error;
      });
      // Half a verification must not be taken for a whole one.
      if (call.isAbandoned()) throw notVerifiedInTime();
      return {
        consistent: verified.differences.length === 0,
        levelsChecked: verified.levelsChecked,
        differences: verified.differences.map(differenceMessage),
      };
    },
  };
}

function notVerifiedInTime(): DomainError {
  return new DomainError(
    "DEADLINE_PASSED",
    "not everything could be verified in time: give a longer deadline or fewer skus",
  );
}
