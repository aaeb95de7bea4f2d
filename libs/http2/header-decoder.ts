import { type HeaderField, headerField, withValue } from "./header-field.ts";
import { decodeHuffman } from "./huffman.ts";
import { staticTable } from "./static-table.ts";

export type HeaderDecoderLimits = {
  /** The size of the dynamic table that was announced as SETTINGS_HEADER_TABLE_SIZE, in bytes. */
  readonly tableBytes: number;
  /** The largest list of fields that is given out, in bytes as RFC 7541, section 4.1, counts them. */
  readonly listBytes: number;
};

/** A header block that is not what RFC 7541 says; the connection can't be used any more. */
export class CompressionError extends Error {
  override readonly name = "CompressionError";
}

/** What either end takes the dynamic table to be until the other says otherwise (RFC 9113, section 6.5.2). */
const INITIAL_TABLE_BYTES = 4096;
/** The smallest size there is, put down and then up again: more than that nobody has to say (section 4.2). */
const TABLE_UPDATES_MAX = 2;
/** No length or index that could be meant is near it, and what is below it is a small integer to V8. */
const INTEGER_MAX = 2 ** 31 - 1;
/** Octets behind the prefix of an integer, enough for the largest. */
const CONTINUATIONS_MAX = 5;
/** The smallest entry of a table (section 4.1). */
const ENTRY_BYTES_MIN = 32;

// The first octet of a field says what follows (section 6): 1xxxxxxx an index, 01xxxxxx a literal that joins
// the table, 001xxxxx a new size of the table, 000xxxxx a literal that doesn't join it.
const INDEXED = 0x80;
const JOINS_TABLE = 0x40;
const TABLE_UPDATE = 0x20;
const HUFFMAN = 0x80;

/** Decodes the header blocks of one connection, in their order (RFC 7541). */
export class HeaderDecoder {
  readonly #tableBytes: number;
  readonly #listBytes: number;
  readonly #table: DynamicTable;
  #position = 0;

  constructor({ tableBytes, listBytes }: HeaderDecoderLimits) {
    this.#tableBytes = tableBytes;
    this.#listBytes = listBytes;
    this.#table = new DynamicTable(Math.max(tableBytes, INITIAL_TABLE_BYTES));
  }

  /**
   * Decodes a whole header block into its fields in their order, or into `undefined` if they are larger than
   * `listBytes` together: the table is right all the same and the connection can go on. Throws
   * CompressionError, after which it can't.
   */
  decode(block: Buffer): HeaderField[] | undefined {
    const end = block.length;
    this.#position = 0;
    if (end > 0 && isTableUpdate(block[0])) this.#updateTable(block);
    const fields: HeaderField[] = [];
    let listBytes = 0;
    while (this.#position < end) {
      const first = block[this.#position] ?? 0;
      const field = first >= INDEXED ? this.#entry(this.#integer(block, 0x7f)) : this.#literal(block, first);
      listBytes += field.size;
      if (listBytes <= this.#listBytes) fields.push(field);
    }
    return listBytes <= this.#listBytes ? fields : undefined;
  }

  #literal(block: Buffer, first: number): HeaderField {
    const joins = first >= JOINS_TABLE;
    if (!joins && isTableUpdate(first)) throw new CompressionError("a table update is behind a field");
    const index = this.#integer(block, joins ? 0x3f : 0x0f);
    // The name comes first in the block, so it is taken first.
    const field =
      index > 0
        ? withValue(this.#entry(index), this.#string(block))
        : headerField(this.#string(block), this.#string(block));
    if (joins) this.#table.add(field);
    return field;
  }

  #entry(index: number): HeaderField {
    const field =
      index > staticTable.length ? this.#table.at(index - staticTable.length - 1) : staticEntry(index);
    if (field === undefined) throw new CompressionError(`no entry has index ${index}`);
    return field;
  }

  #string(block: Buffer): string {
    const isHuffman = (block[this.#position] ?? 0) >= HUFFMAN;
    const length = this.#integer(block, 0x7f);
    const start = this.#position;
    const end = start + length;
    if (end > block.length) throw new CompressionError("a string is longer than its block");
    this.#position = end;
    if (!isHuffman) return block.toString("latin1", start, end);
    const decoded = decodeHuffman(block, start, end);
    if (decoded === undefined) throw new CompressionError("a string is no Huffman code");
    return decoded;
  }

  /** Takes an integer whose prefix are the bits of `mask` in the octet at hand (section 5.1). */
  #integer(block: Buffer, mask: number): number {
    if (this.#position >= block.length) throw new CompressionError("the block is cut off");
    const prefix = (block[this.#position++] ?? 0) & mask;
    return prefix < mask ? prefix : this.#continuedInteger(block, mask);
  }

  #continuedInteger(block: Buffer, prefix: number): number {
    let value = prefix;
    // Five times 7 bits are beyond what bit operations can do, but not beyond a double.
    let weight = 1;
    for (let count = 0; count < CONTINUATIONS_MAX; count += 1) {
      if (this.#position >= block.length) throw new CompressionError("the block is cut off");
      const octet = block[this.#position++] ?? 0;
      value += (octet & 0x7f) * weight;
      if (value > INTEGER_MAX) break;
      if (octet < 0x80) return value;
      weight *= 0x80;
    }
    throw new CompressionError("an integer is too large");
  }

  #updateTable(block: Buffer): void {
    let updates = 0;
    while (this.#position < block.length && isTableUpdate(block[this.#position])) {
      updates += 1;
      const bytes = this.#integer(block, 0x1f);
      if (updates > TABLE_UPDATES_MAX) throw new CompressionError("a block updates the table too often");
      if (bytes > this.#tableBytes) throw new CompressionError(`a table of ${bytes} bytes is too large`);
      this.#table.resize(bytes);
    }
  }
}

function isTableUpdate(octet: number | undefined): boolean {
  return octet !== undefined && (octet & 0xe0) === TABLE_UPDATE;
}

// Index 0 is asked apart: to read an array at -1 would make every other reading slower.
function staticEntry(index: number): HeaderField | undefined {
  return index === 0 ? undefined : staticTable[index - 1];
}

const NO_ENTRY = headerField("", "");

/** The latest entries, as many as have room, in a ring: nothing moves when one comes or goes. */
class DynamicTable {
  readonly #slots: HeaderField[];
  readonly #mask: number;
  #bytesMax = INITIAL_TABLE_BYTES;
  #bytes = 0;
  #count = 0;
  #next = 0;

  constructor(bytesMaxEver: number) {
    const entriesMax = Math.ceil(bytesMaxEver / ENTRY_BYTES_MIN);
    const capacity = 2 ** Math.ceil(Math.log2(entriesMax));
    this.#slots = Array.from({ length: capacity }, () => NO_ENTRY);
    this.#mask = capacity - 1;
  }

  /** The entry that as many others as `age` have come after. */
  at(age: number): HeaderField | undefined {
    return age < this.#count ? this.#slots[(this.#next - 1 - age) & this.#mask] : undefined;
  }

  /** Adds an entry; one that is larger than the table only empties it (section 4.4). */
  add(field: HeaderField): void {
    this.#evictDownTo(this.#bytesMax - field.size);
    if (field.size > this.#bytesMax) return;
    this.#slots[this.#next] = field;
    this.#next = (this.#next + 1) & this.#mask;
    this.#count += 1;
    this.#bytes += field.size;
  }

  resize(bytesMax: number): void {
    this.#bytesMax = bytesMax;
    this.#evictDownTo(bytesMax);
  }

  #evictDownTo(bytes: number): void {
    while (this.#bytes > bytes && this.#count > 0) {
      const oldest = (this.#next - this.#count) & this.#mask;
      this.#bytes -= (this.#slots[oldest] ?? NO_ENTRY).size;
      // What went is no longer kept alive by its slot.
      this.#slots[oldest] = NO_ENTRY;
      this.#count -= 1;
    }
  }
}
