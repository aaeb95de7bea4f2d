import { create, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { asDomainError } from "#libs/db";
import { type CodeName, codeOfReason, DomainError, type ErrorData, type Reason } from "#libs/reasons";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RetryInfoSchema,
} from "#proto/google/rpc/error_details_pb.ts";

/** A detail of an error, as gRPC and Connect carry it. */
export type Detail = { readonly desc: DescMessage; readonly value: Message };

/** An error as a caller sees it, in any protocol. */
export type Failure = {
  readonly code: Code;
  readonly reason: Reason;
  readonly message: string;
  readonly details: readonly Detail[];
};

const codeNumbers: Readonly<Record<CodeName, Code>> = {
  CANCELLED: Code.Canceled,
  INVALID_ARGUMENT: Code.InvalidArgument,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  UNAUTHENTICATED: Code.Unauthenticated,
};

/**
 * gRPC tells a failure in its trailers, and Envoy resets a stream whose trailers pass 60 KiB: the caller
 * would be told UNAVAILABLE. With these limits the largest failure, 100 shortages with the longest names, is
 * about 30 KiB.
 */
const MAX_MESSAGE_CHARACTERS = 1_000;
const MAX_FIELD_VIOLATIONS = 50;

/** The domain of every ErrorInfo. */
export const ERROR_DOMAIN = "holdfast";

/**
 * Turns whatever a handler threw into what its caller may see: a DomainError by the table of reasons, what
 * the database said by its class, and anything else as INTERNAL_ERROR with the request id, under which the
 * log has the cause.
 */
export function toFailure(error: unknown, requestId: string): Failure {
  const known = asDomainError(error);
  if (known instanceof DomainError) return failureOf(known.reason, known.message, known.data);
  return failureOf("INTERNAL_ERROR", `something went wrong here: tell us the request id ${requestId}`, {
    metadata: { request_id: requestId },
  });
}

/** The failure of a reason, cut to what its caller can be told. */
export function failureOf(reason: Reason, message: string, data: ErrorData = {}): Failure {
  return {
    code: codeNumbers[codeOfReason[reason]],
    reason,
    message: shortened(message),
    details: detailsOf(reason, data),
  };
}

function shortened(message: string): string {
  if (message.length <= MAX_MESSAGE_CHARACTERS) return message;
  const more = " ... and more";
  return message.slice(0, MAX_MESSAGE_CHARACTERS - more.length).toWellFormed() + more;
}

function detailsOf(reason: Reason, data: ErrorData): Detail[] {
  const details: Detail[] = [
    detail(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata: { ...data.metadata } }),
    ),
  ];
  if (data.fields?.length) {
    const fieldViolations = data.fields
      .slice(0, MAX_FIELD_VIOLATIONS)
      .map(({ field, description }) => ({ field, description, reason }));
    details.push(detail(BadRequestSchema, create(BadRequestSchema, { fieldViolations })));
  }
  if (data.shortages?.length) {
    const violations = data.shortages.map(({ sku, locationId, requested, available }) => ({
      type: reason,
      subject: `${sku}@${locationId}`,
      description: `requested ${requested}, available ${available}`,
    }));
    details.push(detail(PreconditionFailureSchema, create(PreconditionFailureSchema, { violations })));
  }
  if (data.retryAfterMs !== undefined) {
    details.push(
      detail(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(data.retryAfterMs) })),
    );
  }
  return details;
}

function detail(desc: DescMessage, value: Message): Detail {
  return { desc, value };
}

/** The bytes and the type URL of a detail, as google.protobuf.Any has them. */
export function packDetail({ desc, value }: Detail): { typeUrl: string; value: Uint8Array } {
  return { typeUrl: `type.googleapis.com/${desc.typeName}`, value: toBinary(desc, value) };
}
