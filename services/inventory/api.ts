/** What requests start: the calls of InventoryService, and those that only orders make. */
import type { Sql } from "#libs/db";
import { type Handlers, type RpcService, service } from "#libs/rpc";
import { InventoryService } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { OrderReservationService } from "#proto/holdfast/inventory/v1/order_reservations_pb.ts";
import { createCatalogueHandlers } from "./api/catalogue.ts";
import { createOrderReservationHandlers, createReservationHandlers } from "./api/reservations.ts";
import { createStockHandlers } from "./api/stock.ts";
import type { Changes } from "./changes.ts";

export type InventoryServiceParts = {
  readonly sql: Sql;
  /** For what reads whole ledgers. */
  readonly ledgerSql: Sql;
  readonly changes: Changes;
};

/** The handlers of InventoryService, one for each of its methods. */
export function createInventoryHandlers({
  sql,
  ledgerSql,
  changes,
}: InventoryServiceParts): Handlers<(typeof InventoryService)["method"]> {
  return {
    ...createCatalogueHandlers(sql),
    ...createStockHandlers(sql, ledgerSql, changes),
    ...createReservationHandlers(sql, changes),
  };
}

/** The services of the process, ready to be served. */
export function createInventoryServices(parts: InventoryServiceParts): RpcService[] {
  return [
    service(InventoryService, createInventoryHandlers(parts)),
    service(OrderReservationService, createOrderReservationHandlers(parts.changes)),
  ];
}
