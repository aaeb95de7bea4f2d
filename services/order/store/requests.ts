import { bytes, type Sql, type Tx, uuids } from "#libs/db";

/** What a request_id was, or is to be, used for. */
export type RequestKey = {
  readonly requestId: string;
  readonly hash: Uint8Array;
  readonly orderId: string;
};

/**
 * Takes the ids that nobody has used yet and returns them. Waits for others who are about to take the same
 * ones; all take them in one order, so nobody waits in a circle.
 */
export async function insertRequests(
  tx: Tx,
  tenant: string,
  requests: readonly RequestKey[],
): Promise<Set<string>> {
  if (requests.length === 0) return new Set();
  const rows = await tx<{ request_id: string }[]>`
    insert into requests (tenant_id, request_id, request_hash, order_id)
    select ${tenant}, request_id, request_hash, order_id
    from unnest(
      ${uuids(requests.map((request) => request.requestId))}::uuid[],
      ${bytes(requests.map((request) => request.hash))}::bytea[],
      ${uuids(requests.map((request) => request.orderId))}::uuid[]
    ) as request (request_id, request_hash, order_id)
    order by request_id
    on conflict do nothing
    returning request_id`;
  return new Set(rows.map((row) => row.request_id));
}

/** What the ids were used for; those never used are not among them. */
export async function findRequests(
  tx: Tx,
  tenant: string,
  requestIds: readonly string[],
): Promise<Map<string, RequestKey>> {
  if (requestIds.length === 0) return new Map();
  const rows = await tx<{ request_id: string; request_hash: Buffer; order_id: string }[]>`
    select request_id, request_hash, order_id
    from requests
    where tenant_id = ${tenant}
      and request_id = any(${uuids(requestIds)}::uuid[])`;
  return new Map(
    rows.map((row) => [
      row.request_id,
      { requestId: row.request_id, hash: row.request_hash, orderId: row.order_id },
    ]),
  );
}

/** Gives ids back whose request had no effect. */
export async function deleteRequests(tx: Tx, tenant: string, requestIds: readonly string[]): Promise<void> {
  if (requestIds.length === 0) return;
  await tx`
    delete from requests
    where tenant_id = ${tenant}
      and request_id = any(${uuids(requestIds)}::uuid[])`;
}

/** Forgets requests older than `keptMs`, at most `limit`; returns how many it forgot. */
export async function deleteOldRequests(sql: Sql, keptMs: number, limit: number): Promise<number> {
  const deleted = await sql`
    delete from requests
    where (tenant_id, request_id) in (
      select tenant_id, request_id
      from requests
      where create_time < now() - ${keptMs} * interval '1 millisecond'
      limit ${limit}
    )`;
  return deleted.count;
}
