/**
 * Length in bits of each octet's code, and of EOS at the end (RFC 7541, Appendix B). The codes follow from
 * the lengths: they are counted up in the order of length, then of the octet.
 */
export const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/** The symbol behind the octets, which no string may contain. */
const EOS = 256;
/** States of the decoder, one for each beginning of a code: a binary tree has one less than it has leaves. */
const STATES = 256;
/**
 * At the end of a string 0 to 7 ones may be left over as padding. These beginnings are the first states, so
 * that one comparison tells whether a string ended well.
 */
const PADDING_STATES = 8;
/** Octets of one string that are decoded without a buffer of its own; a request's are far below it. */
const SCRATCH_BYTES = 16_384;

const MALFORMED = -1;
const transitions = transitionsOf(treeOf(CODE_LENGTHS));
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/**
 * Decodes the Huffman code in `source` from `start` up to `end` into a latin1 string. Gives `undefined` if it
 * contains EOS or ends in anything but less than an octet of ones.
 */
export function decodeHuffman(source: Uint8Array, start: number, end: number): string | undefined {
  // The shortest code has 5 bits, so an octet gives at most 1.6 others, and the last writes one in vain.
  const bytesMax = (end - start) * 2 + 2;
  const decoded = bytesMax <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(bytesMax);
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at += 1) {
    const transition = transitions[(state << 8) | (source[at] ?? 0)] ?? MALFORMED;
    if (transition < 0) return undefined;
    // Both are always written, because that is cheaper than to ask how many there are.
    decoded[length] = transition >> 8;
    decoded[length + 1] = transition >> 16;
    length += transition >> 24;
    state = transition & 0xff;
  }
  return state < PADDING_STATES ? decoded.toString("latin1", 0, length) : undefined;
}

/** The code as a tree: where each state goes with the next bit, to a state or, as `~symbol`, to a symbol. */
type Tree = { readonly zero: Int16Array; readonly one: Int16Array };

function treeOf(lengths: readonly number[]): Tree {
  const tree = { zero: new Int16Array(STATES), one: new Int16Array(STATES) };
  for (let ones = 1; ones < PADDING_STATES; ones += 1) tree.one[ones - 1] = ones;
  let states = PADDING_STATES;
  let code = 0;
  for (let length = 1; length <= Math.max(...lengths); length += 1) {
    code *= 2;
    for (const [symbol, itsLength] of lengths.entries()) {
      if (itsLength !== length) continue;
      let state = 0;
      for (let bit = length - 1; bit > 0; bit -= 1) {
        const branch = (code >> bit) & 1 ? tree.one : tree.zero;
        // The root is nobody's child, so zero says that there is none yet.
        branch[state] ||= states++;
        state = branch[state] ?? 0;
      }
      (code & 1 ? tree.one : tree.zero)[state] = ~symbol;
      code += 1;
    }
  }
  return tree;
}

/**
 * What each octet does in each state, in one number: the next state, two octets that it completes, how many
 * of them count, from the lowest byte up. It is 256 KiB, of which what a proxy sends uses a few.
 */
function transitionsOf(tree: Tree): Int32Array {
  const table = new Int32Array(STATES << 8);
  for (let state = 0; state < STATES; state += 1) fill(table, tree, state << 8, 8, state, 0);
  return table;
}

// Fills in all octets that differ in the last `bits` bits. To share their beginnings takes about 10 ms at
// the start of a process, half of what it takes octet by octet.
function fill(table: Int32Array, tree: Tree, at: number, bits: number, state: number, output: number): void {
  if (bits === 0) {
    table[at] = output | state;
    return;
  }
  for (let bit = 0; bit < 2; bit += 1) {
    const next = (bit === 0 ? tree.zero : tree.one)[state] ?? 0;
    const child = at | (bit << (bits - 1));
    if (next >= 0) fill(table, tree, child, bits - 1, next, output);
    else fill(table, tree, child, bits - 1, 0, withSymbol(output, ~next));
  }
}

function withSymbol(output: number, symbol: number): number {
  if (output === MALFORMED || symbol === EOS) return MALFORMED;
  const count = output >> 24;
  return (output + (1 << 24)) | (symbol << (8 + 8 * count));
}
