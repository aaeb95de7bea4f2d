import { CODE_LENGTHS } from "../huffman.ts";

/** Encodes latin1 text in the Huffman code of RFC 7541, without minding its speed. */
export function encodeHuffman(text: string): Buffer {
  const bits = [...Buffer.from(text, "latin1")].map((octet) => CODES[octet]).join("");
  return octetsOf(bits.padEnd(Math.ceil(bits.length / 8) * 8, "1"));
}

/** Packs digits 0 and 1, a multiple of eight of them, into octets. */
export function octetsOf(bits: string): Buffer {
  return Buffer.from(bits.match(/.{8}/g)?.map((octet) => Number.parseInt(octet, 2)) ?? []);
}

/** The code of each octet and, at the end, of EOS, as digits 0 and 1. */
export const CODES: readonly string[] = codesOf(CODE_LENGTHS);

function codesOf(lengths: readonly number[]): string[] {
  const codes: string[] = [];
  const order = lengths.map((length, symbol) => ({ length, symbol })).sort((a, b) => a.length - b.length);
  let code = 0;
  let before = 0;
  for (const { length, symbol } of order) {
    code *= 2 ** (length - before);
    codes[symbol] = code.toString(2).padStart(length, "0");
    code += 1;
    before = length;
  }
  return codes;
}
