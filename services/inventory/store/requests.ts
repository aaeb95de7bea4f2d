import type { Sql, Tx } from "#libs/db";
import { requestIdReused } from "../domain/apply.ts";
import type { RequestKey } from "../domain/calls.ts";
import { REQUESTS_KEPT_DAYS } from "../domain/limits.ts";
import { type RequestRow, requestFrom } from "./rows.ts";

/**
 * Whether this request took effect before: then its effect is left as it is. Otherwise the request is
 * written down, to be kept if the transaction commits. The same request, sent twice at once, waits here for
 * the first.
 */
export async function isRepeated(
  tx: Tx,
  tenant: string,
  request: RequestKey | undefined,
  resource: string,
): Promise<boolean> {
  if (!request) return false;
  const written = await tx`
    insert into requests (tenant_id, request_id, request_hash, resource, create_time)
    values (${tenant}, ${request.requestId}, ${request.hash}, ${resource}, clock_timestamp())
    on conflict do nothing`;
  if (written.count === 1) return false;
  const [row] = await tx<RequestRow[]>`
    select request_id, request_hash, resource, response
    from requests
    where tenant_id = ${tenant}
      and request_id = ${request.requestId}`;
  if (!row || requestFrom(row).hash !== request.hash) throw requestIdReused(request.requestId);
  return true;
}

/** Forgets up to `limit` requests that are older than they are kept, and returns how many there were. */
export async function deleteOldRequests(sql: Sql, limit: number): Promise<number> {
  const deleted = await sql`
    delete from requests
    using (
      select tenant_id, request_id
      from requests
      where create_time < now() - ${REQUESTS_KEPT_DAYS} * interval '1 day'
      order by create_time
      limit ${limit}
      for update skip locked
    ) as old
    where requests.tenant_id = old.tenant_id
      and requests.request_id = old.request_id`;
  return deleted.count;
}
