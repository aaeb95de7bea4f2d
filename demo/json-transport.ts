import {
  create,
  createRegistry,
  type DescMethodUnary,
  fromJson,
  fromJsonString,
  getOption,
  isMessage,
  type JsonObject,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { http } from "#proto/google/api/annotations_pb.ts";
import { file_google_rpc_error_details } from "#proto/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "#proto/google/rpc/status_pb.ts";

/** The types that the details of an error are made of. */
const detailTypes = createRegistry(file_google_rpc_error_details);

const codes = new Map<number, Code>(
  Object.values(Code).flatMap((code) => (typeof code === "number" ? [[code, code]] : [])),
);

export type JsonTransportOptions = {
  readonly baseUrl: string;
  /** How long an answer may take. */
  readonly timeoutMs: number;
};

/**
 * Makes a transport that calls plain JSON over HTTP, at the paths that the contract's `google.api.http`
 * rules say, with nothing but `fetch`: a client on it is used like one over gRPC.
 */
export function createJsonTransport(options: JsonTransportOptions): Transport {
  return {
    async unary(method, signal, timeoutMs, header: ConstructorParameters<typeof Headers>[0], input) {
      const request = isMessage(input, method.input) ? input : create(method.input, input);
      const { verb, path, body } = requestOf(method, toJson(method.input, request));
      const headers = new Headers(header);
      if (body !== undefined) headers.set("content-type", "application/json");
      headers.set("grpc-timeout", `${timeoutMs ?? options.timeoutMs}m`);
      const timeout = AbortSignal.timeout(timeoutMs ?? options.timeoutMs);
      const { response, text } = await send(`${options.baseUrl}${path}`, {
        method: verb,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      if (!response.ok) throw errorOf(response, text);
      return {
        stream: false,
        service: method.parent,
        method,
        header: response.headers,
        trailer: new Headers(),
        message: fromJsonString(method.output, text, { ignoreUnknownFields: true }),
      };
    },
    async stream() {
      throw new ConnectError("JSON has unary calls only", Code.Unimplemented);
    },
  };
}

async function send(url: string, init: RequestInit): Promise<{ response: Response; text: string }> {
  try {
    const response = await fetch(url, init);
    return { response, text: await response.text() };
  } catch (error) {
    // A fetch fails for the connection only, or because it was cut short here.
    const isTimeout = error instanceof Error && error.name === "TimeoutError";
    const code = isTimeout ? Code.DeadlineExceeded : Code.Unavailable;
    throw new ConnectError("the connection failed", code, undefined, undefined, error);
  }
}

/** The verb, the path with its query, and the body of a call, by the method's rule in the contract. */
export function requestOf(method: DescMethodUnary, json: JsonValue) {
  const { pattern, body } = getOption(method, http);
  const verb = pattern.case?.toUpperCase();
  if (typeof pattern.value !== "string" || !verb || !isObject(json)) {
    throw new Error(`${method.name} has no path in the contract`);
  }
  const rest: JsonObject = { ...json };
  const path = pattern.value.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const field = method.input.field[camelCase(name)];
    const value = field === undefined ? undefined : rest[field.jsonName];
    if (field !== undefined) delete rest[field.jsonName];
    return encodeURIComponent(textOf(value ?? ""));
  });
  if (body === "*") return { verb, path, body: rest };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(rest)) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, textOf(one));
  }
  return { verb, path: query.size > 0 ? `${path}?${query.toString()}` : path, body: undefined };
}

/** A value as a path or a query has it: none of the contract's is a message. */
function textOf(value: JsonValue): string {
  if (typeof value === "object") throw new Error(`there is no text for ${JSON.stringify(value)}`);
  return String(value);
}

/** The error in a google.rpc.Status, with its details as a client over gRPC has them. */
export function errorOf(response: Response, text: string): ConnectError {
  const status = statusIn(text);
  if (!status) return new ConnectError(`HTTP ${response.status}: ${text.slice(0, 200)}`, Code.Unknown);
  // The numbers of google.rpc.Code and of Connect's are the same.
  const code = codes.get(status.code) ?? Code.Unknown;
  const error = new ConnectError(status.message, code, response.headers);
  error.details = status.details.flatMap((packed) => {
    const detail: Message | undefined = anyUnpack(packed, detailTypes);
    const desc = detail && detailTypes.getMessage(detail.$typeName);
    return detail && desc ? [{ type: detail.$typeName, value: toBinary(desc, detail) }] : [];
  });
  return error;
}

function statusIn(text: string): Status | undefined {
  try {
    const json: unknown = JSON.parse(text);
    if (!isObject(json)) return undefined;
    return fromJson(StatusSchema, json, { registry: detailTypes, ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}

function isObject(json: unknown): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
