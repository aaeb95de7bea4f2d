/**
 * A call as bytes that are made once: what differs from one call to the next (ids, skus) has a place of a
 * fixed width in them and is written over it. So a call costs the load generator a copy of some hundred bytes
 * and no encoding.
 */

/** Stands in a message where a UUID will be; give each place of its own a number. */
export function uuidBlank(number: number): string {
  return `ffffffff-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Stands in a message where a text of `width` characters will be; give each place of its own a number. */
export function textBlank(number: number, width: number): string {
  return `b${String(number).padStart(width - 2, "0")}b`;
}

/** The bytes of a call, and where the value of each blank goes in them. */
export type Stencil = {
  readonly bytes: Buffer;
  /** One entry a blank: everywhere it occurs. */
  readonly places: readonly (readonly number[])[];
  readonly widths: readonly number[];
  /** Where the number of the HTTP/2 stream goes; none for HTTP/1.1. */
  readonly streamIdPlaces: readonly number[];
};

/** Finds the blanks in the bytes of a call; each must be there. */
export function makeStencil(
  bytes: Buffer,
  blanks: readonly string[],
  streamIdPlaces: readonly number[] = [],
): Stencil {
  const places = blanks.map((blank) => {
    const found: number[] = [];
    for (let at = bytes.indexOf(blank, 0, "latin1"); at >= 0; at = bytes.indexOf(blank, at + 1, "latin1")) {
      found.push(at);
    }
    if (found.length === 0) throw new Error(`the call has no place for ${blank}`);
    return found;
  });
  return { bytes, places, widths: blanks.map((blank) => blank.length), streamIdPlaces };
}

/** Writes one call to `target` at `at`; the values are as wide as their blanks. */
export function fillStencil(
  stencil: Stencil,
  values: readonly string[],
  target: Buffer,
  at: number,
  streamId: number,
): void {
  stencil.bytes.copy(target, at);
  for (let index = 0; index < stencil.places.length; index += 1) {
    const value = values[index] ?? "";
    if (value.length !== stencil.widths[index]) throw new Error(`"${value}" is not as wide as its blank`);
    for (const place of stencil.places[index] ?? []) target.write(value, at + place, "latin1");
  }
  for (const place of stencil.streamIdPlaces) target.writeUInt32BE(streamId, at + place);
}
