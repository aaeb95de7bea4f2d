import { FIELD_OVERHEAD_BYTES } from "./header-field.ts";
import { staticTable } from "./static-table.ts";

/** A string's length and a field's form take no more than these. */
const MAX_PREFIX_BYTES = 12;
/** What a decoder remembers unless it says otherwise. */
const FIRST_TABLE_BYTES = 4_096;

/** A field of an answer. */
export type OutgoingField = { readonly name: string; readonly value: string };

/**
 * A field that is the same in many answers of a connection: it is spelled out once, and is one byte from then
 * on. Make it once for the process.
 */
export class RepeatedField implements OutgoingField {
  readonly name: string;
  readonly value: string;
  /** What it takes of the peer's table. */
  readonly size: number;
  /** Its place in the table that everybody has; 0 if it is not there. */
  readonly staticIndex: number;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
    this.size = name.length + value.length + FIELD_OVERHEAD_BYTES;
    this.staticIndex = staticTable.findIndex((field) => field.name === name && field.value === value) + 1;
  }
}

const staticNames = new Map<string, number>();
for (const [index, { name }] of staticTable.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, index + 1);
}

/**
 * Writes the headers of one connection's answers (HPACK, RFC 7541). Only repeated fields enter the peer's
 * table, and only while there is room, so that none ever leaves it again and its number is known without a
 * search.
 */
export class HeaderEncoder {
  readonly #places = new Map<RepeatedField, number>();
  #tableBytes = 0;
  #tableLimit = FIRST_TABLE_BYTES;
  #mustEmpty = false;

  /** Told how much the peer remembers. With less than usual the table is given up: blocks are then longer. */
  limitTable(bytes: number): void {
    if (bytes >= this.#tableLimit) return;
    this.#tableLimit = 0;
    this.#places.clear();
    this.#mustEmpty = true;
  }

  /** The most bytes that `encode` will write for these. */
  bound(fields: readonly OutgoingField[]): number {
    let bytes = 1;
    for (const { name, value } of fields) bytes += name.length + value.length + MAX_PREFIX_BYTES;
    return bytes;
  }

  /** Writes a block of headers at `at` and says where it ends. */
  encode(fields: readonly OutgoingField[], target: Buffer, at: number): number {
    let end = at;
    if (this.#mustEmpty) {
      // Says that the table has no bytes from now on (section 6.3), as the peer asked for.
      target.writeUInt8(0x20, end);
      end += 1;
      this.#mustEmpty = false;
    }
    for (const field of fields) {
      end =
        field instanceof RepeatedField
          ? this.#encodeRepeated(field, target, end)
          : encodeLiteral(field, 0x00, 4, target, end);
    }
    return end;
  }

  #encodeRepeated(field: RepeatedField, target: Buffer, at: number): number {
    if (field.staticIndex > 0) return writeInteger(field.staticIndex, 0x80, 7, target, at);
    const place = this.#places.get(field);
    if (place !== undefined) {
      // The newest entry comes first, behind the static ones.
      return writeInteger(staticTable.length + this.#places.size - place, 0x80, 7, target, at);
    }
    if (this.#tableBytes + field.size > this.#tableLimit) return encodeLiteral(field, 0x00, 4, target, at);
    this.#tableBytes += field.size;
    this.#places.set(field, this.#places.size);
    return encodeLiteral(field, 0x40, 6, target, at);
  }
}

// A field in full: without (form 0x00) or with (0x40) a place in the table (section 6.2).
function encodeLiteral(
  { name, value }: OutgoingField,
  form: number,
  prefixBits: number,
  target: Buffer,
  at: number,
): number {
  const nameIndex = staticNames.get(name) ?? 0;
  const end = writeInteger(nameIndex, form, prefixBits, target, at);
  return writeText(value, target, nameIndex > 0 ? end : writeText(name, target, end));
}

// Not in Huffman's code: it saves a fifth of some hundred bytes, and costs more than the whole block.
function writeText(text: string, target: Buffer, at: number): number {
  const from = writeInteger(text.length, 0x00, 7, target, at);
  return from + target.write(text, from, "latin1");
}

/** Writes an integer with a prefix of so many bits behind the bits of `form` (section 5.1). */
function writeInteger(value: number, form: number, prefixBits: number, target: Buffer, at: number): number {
  const most = (1 << prefixBits) - 1;
  if (value < most) {
    target[at] = form | value;
    return at + 1;
  }
  target[at] = form | most;
  let end = at + 1;
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7, end += 1) target[end] = (rest & 0x7f) | 0x80;
  target[end] = rest;
  return end + 1;
}
