/** Calls that no client would make: the bytes of a request as a test wants them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:http2";
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { StatusSchema } from "#proto/google/rpc/status_pb.ts";
import { type Failure, readFailure } from "./testing.ts";

/** Sends these bytes as a request over gRPC, and returns the failure that must be the answer. */
export async function failureOfBytes(
  url: string,
  { parent, name }: DescMethodUnary,
  bytes: Uint8Array,
): Promise<Failure> {
  const session = connect(url);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": `/${parent.typeName}/${name}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const told: Record<string, unknown> = {};
    stream.on("response", (headers) => Object.assign(told, headers));
    stream.on("trailers", (trailers: Record<string, unknown>) => Object.assign(told, trailers));
    stream.resume();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(bytes.length, 1);
    stream.end(Buffer.concat([prefix, bytes]));
    await once(stream, "close");
    assert.equal(told[":status"], 200);
    return readFailure(errorIn(told));
  } finally {
    session.close();
  }
}

function errorIn(told: Record<string, unknown>): ConnectError {
  const code = Object.values(Code).find((value) => String(value) === told["grpc-status"]);
  assert(typeof code === "number", `grpc-status ${String(told["grpc-status"])}`);
  const packed = told["grpc-status-details-bin"];
  const status =
    typeof packed === "string"
      ? fromBinary(StatusSchema, Buffer.from(packed, "base64"))
      : create(StatusSchema);
  const error = new ConnectError(status.message, code);
  error.details = status.details.map(({ typeUrl, value }) => ({ type: typeUrl.replace(/^.*\//, ""), value }));
  return error;
}

const NOT_UTF8 = Uint8Array.of(0x6d, 0xff, 0xfe);
/** No message of the contract has it. */
const UNKNOWN_FIELD = 1_000;

/** A request for each of its text fields, that of its lines too, with bytes in it that are not UTF-8. */
export function withoutUtf8(desc: DescMessage, request: Message): { path: string; bytes: Uint8Array }[] {
  const sound = toBinary(desc, request);
  return fieldsOfText(desc).map(({ path, write }) => {
    const writer = new BinaryWriter().raw(sound);
    write(writer);
    return { path, bytes: writer.finish() };
  });
}

type TextField = { path: string; write(writer: BinaryWriter): void };

function fieldsOfText(desc: DescMessage): TextField[] {
  return desc.fields.flatMap((field): TextField[] => {
    // What comes last counts, and of a list it is one entry more.
    if (isText(field)) {
      const write = (writer: BinaryWriter) =>
        void writer.tag(field.number, WireType.LengthDelimited).bytes(NOT_UTF8);
      return [{ path: field.name, write }];
    }
    if (field.fieldKind !== "list" || field.listKind !== "message") return [];
    return fieldsOfText(field.message).map(({ path, write }) => ({
      path: `${field.name}.${path}`,
      write: (writer) => {
        writer.tag(field.number, WireType.LengthDelimited).fork();
        write(writer);
        writer.join();
      },
    }));
  });
}

function isText(field: DescField): boolean {
  return field.scalar === ScalarType.STRING;
}

/** A sound request that is so many bytes long, by a field that nobody knows. */
export function paddedTo(desc: DescMessage, request: Message, length: number): Uint8Array {
  const sound = toBinary(desc, request);
  const pad = (size: number) =>
    new BinaryWriter()
      .raw(sound)
      .tag(UNKNOWN_FIELD, WireType.LengthDelimited)
      .bytes(new Uint8Array(size))
      .finish();
  return pad(length - (pad(length).length - length));
}
