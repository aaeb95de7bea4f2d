/**
 * What a stock service does at first: one interactive transaction for each call, behind the same RPC server
 * as the real one, so that the calls cost the same and only the work behind them differs.
 */
import type { Logger } from "pino";
import { connect, type Sql, uuidv7 } from "#libs/db";
import { DomainError } from "#libs/reasons";
import { startRpcServer } from "#libs/rpc";
import type { CreateReservationRequest } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { onlyCreateReservation } from "./one-method.ts";
import { answerReservation } from "./trivial.ts";

const DAY_MS = 86_400_000;

type Level = { readonly on_hand: number; readonly reserved: number };

/** Serves reservations out of tables of its own, which it makes, each in a transaction of its own. */
export async function serveTransactions(address: string, databaseUrl: string, log: Logger): Promise<void> {
  const sql = connect({ url: databaseUrl, name: "transactions" });
  await makeTables(sql);
  await startRpcServer({
    address,
    services: [
      onlyCreateReservation(async (request, call) => {
        const reservationId = uuidv7();
        await reserve(sql, call.caller.tenant, reservationId, request);
        return answerReservation({ ...request, reservationId });
      }),
    ],
    reflected: [],
    log,
  });
}

/** Makes the tables of the reference where they are not there yet. */
async function makeTables(sql: Sql): Promise<void> {
  await sql`
    create table if not exists levels (
      tenant_id text collate "C" not null,
      sku text collate "C" not null,
      on_hand integer not null,
      reserved integer not null,
      primary key (tenant_id, sku),
      check (reserved between 0 and on_hand)
    ) with (fillfactor = 70)`;
  await sql`
    create table if not exists reservations (
      tenant_id text collate "C" not null,
      reservation_id uuid not null,
      sku text collate "C" not null,
      quantity integer not null,
      owner text not null,
      expire_time timestamptz not null,
      primary key (tenant_id, reservation_id, sku)
    )`;
}

async function reserve(
  sql: Sql,
  tenant: string,
  reservationId: string,
  { lines, owner }: CreateReservationRequest,
): Promise<void> {
  const expireTime = new Date(Date.now() + DAY_MS);
  // In one order, so that two baskets with the same skus wait for each other in one direction only.
  const sorted = [...lines].sort((one, other) => (one.sku < other.sku ? -1 : 1));
  await sql.begin(async (tx) => {
    for (const { sku, quantity } of sorted) {
      const [level] = await tx<Level[]>`
        select on_hand, reserved
        from levels
        where tenant_id = ${tenant}
          and sku = ${sku}
        for update`;
      if (!level || level.on_hand - level.reserved < quantity) {
        throw new DomainError("INSUFFICIENT_STOCK", `there are no ${quantity} units of ${sku}`);
      }
      await tx`
        insert into reservations (tenant_id, reservation_id, sku, quantity, owner, expire_time)
        values (${tenant}, ${reservationId}, ${sku}, ${quantity}, ${owner}, ${expireTime})`;
      await tx`
        update levels
        set reserved = reserved + ${quantity}
        where tenant_id = ${tenant}
          and sku = ${sku}`;
    }
  });
}
