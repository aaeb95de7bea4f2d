import { create, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { readAllBytes, type UniversalServerResponse } from "@connectrpc/connect/protocol";
import { BadRequestSchema, ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { ERROR_DOMAIN } from "./failure.ts";

/** An error of this shape is a few hundred bytes. */
const MAX_ERROR_BYTES = 65_536;

/**
 * What connect-node says of bytes it can't decode, of JSON it can't parse, and of a body that is too large.
 */
const atTheDoor: ReadonlySet<unknown> = new Set(["internal", "invalid_argument", "resource_exhausted"]);

/**
 * Gives ErrorInfo to what connect-node refuses by itself, before any handler: JSON that can't be parsed,
 * bytes that are no message, a body that is too large. It calls undecodable bytes INTERNAL; they are the
 * caller's, so INVALID_ARGUMENT. Errors of handlers always have details and pass as they are.
 */
export async function explainRefusal(
  response: UniversalServerResponse,
  input: DescMessage,
): Promise<UniversalServerResponse> {
  const { header } = response;
  const isError = response.status >= 400 && header?.get("content-type") === "application/json";
  // What connect-node says by itself is short, so it is never compressed.
  if (!isError || !response.body || header.has("content-encoding")) return response;
  const bytes = await readAllBytes(response.body, MAX_ERROR_BYTES);
  const error: unknown = JSON.parse(new TextDecoder().decode(bytes));
  if (!isBare(error) || !atTheDoor.has(error.code)) return { ...response, body: bodyOf(bytes) };
  const message = typeof error.message === "string" ? error.message : "the request can't be read";
  const body = Buffer.from(
    JSON.stringify({ code: "invalid_argument", message, details: detailsOf(message, input) }),
  );
  const changed = new Headers(header);
  changed.set("content-length", String(body.byteLength));
  return { ...response, status: 400, header: changed, body: bodyOf(body) };
}

type BareError = { readonly code: unknown; readonly message?: unknown };

function isBare(value: unknown): value is BareError {
  return typeof value === "object" && value !== null && "code" in value && !("details" in value);
}

function detailsOf(message: string, input: DescMessage): { type: string; value: string }[] {
  const field = fieldToBlame(message, input);
  const reason = "INVALID_FIELD";
  const info = create(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN });
  const request = create(BadRequestSchema, { fieldViolations: [{ field, description: message, reason }] });
  return [
    { type: ErrorInfoSchema.typeName, value: base64(toBinary(ErrorInfoSchema, info)) },
    { type: BadRequestSchema.typeName, value: base64(toBinary(BadRequestSchema, request)) },
  ];
}

/**
 * The parser's text names the field (`cannot decode field holdfast.order.v1.OrderLine.quantity from JSON:
 * ...`), but of an enum or a message only the type: then it is the request's field of that type.
 */
function fieldToBlame(message: string, input: DescMessage): string {
  const named = /field [\w.]+\.(\w+) from JSON/.exec(message) ?? /key "([^"]*)" is unknown/.exec(message);
  if (named?.[1] !== undefined) return named[1];
  const type = /cannot decode (?:enum|message) ([\w.]+) from JSON/.exec(message)?.[1];
  // A plain field has no type's name either.
  if (type === undefined) return "";
  const ofType = input.fields.find(
    ({ enum: values, message: inner }) => (values ?? inner)?.typeName === type,
  );
  return ofType?.name ?? "";
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
}

async function* bodyOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
