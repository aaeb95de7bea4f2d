/** Applies the calls of a batch to its book, each decided by what those before it left. */
import { DomainError } from "#libs/reasons";
import { adjust } from "./adjust.ts";
import type { Book } from "./book.ts";
import type { RequestRecord, StockCall, StockOutcome, StockResult } from "./calls.ts";
import { end, expire, extend } from "./end.ts";
import { readAt, reservationNotFound } from "./reservation.ts";
import { reserve } from "./reserve.ts";

/**
 * Applies one call: its result, or its refusal, which leaves the book as it was but for what had fallen
 * due and what an expired order still had. Any other error is thrown: it may have left the book half
 * changed, so the batch must not be saved.
 */
export function applyCall(book: Book, call: StockCall): StockOutcome {
  try {
    const known = knownRequest(book, call);
    if (known) return { ok: true, value: known };
    const value = decide(book, call);
    remember(book, call, value);
    return { ok: true, value };
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { ok: false, error };
  }
}

function decide(book: Book, call: StockCall): StockResult {
  switch (call.kind) {
    case "reserve":
      return reserve(book, call);
    case "adjust":
      return adjust(book, call);
    case "commit":
    case "release":
      return end(book, call);
    case "expire":
      return expire(book, call);
    case "extend":
      return extend(book, call);
  }
}

function knownRequest(book: Book, call: StockCall): StockResult | undefined {
  if (!call.request || (call.kind === "reserve" && call.validateOnly)) return undefined;
  const known = book.requests.get(call.request.requestId);
  if (!known) return undefined;
  if (known.hash !== call.request.hash) throw requestIdReused(known.requestId);
  if (known.movements) return { kind: "adjustment", movements: known.movements };
  const reservation = book.reservations.get(known.resource)?.after;
  if (!reservation) throw reservationNotFound(known.resource);
  return { kind: "reservation", reservation: readAt(reservation, book.now), changed: false };
}

function remember(book: Book, call: StockCall, result: StockResult): void {
  if (!call.request || (call.kind === "reserve" && call.validateOnly)) return;
  const record: RequestRecord =
    result.kind === "reservation"
      ? { ...call.request, resource: result.reservation.reservationId }
      : {
          ...call.request,
          resource: call.kind === "adjust" ? call.adjustmentId : "",
          movements: result.movements,
        };
  book.requests.set(record.requestId, record);
  book.newRequests.push(record);
}

/** What a caller is told whose request_id was used for something else. */
export function requestIdReused(requestId: string): DomainError {
  return new DomainError(
    "REQUEST_ID_REUSED",
    "this request_id was used for a request with other content: use a new one",
    {
      metadata: { request_id: requestId },
      fields: [{ field: "request_id", description: "was used before" }],
    },
  );
}
