/**
 * Columns of values as Postgres writes lists, for `unnest` and `any`. The driver can write them too, but
 * looks at each value three times, which is a tenth of what a small call costs, and can't guess the type of
 * an empty list. Undefined and null become null.
 */

type Maybe<Value> = Value | undefined | null;

/** A column of ids: text without quotes or backslashes, and never the word null. */
export function uuids(values: readonly Maybe<string>[]): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`;
}

/** A column of names: text without quotes or backslashes. */
export function names(values: readonly string[]): string {
  return values.length === 0 ? "{}" : `{"${values.join('","')}"}`;
}

/** A column of numbers. */
export function numbers(values: readonly Maybe<number | bigint>[]): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`;
}

/** A column of truth values. */
export function booleans(values: readonly boolean[]): string {
  return `{${values.join(",")}}`;
}

/** A column of any texts. */
export function texts(values: readonly Maybe<string>[]): string {
  return `{${values.map((value) => (typeof value === "string" ? quoted(value) : "null")).join(",")}}`;
}

/** A column of bytes. */
export function bytes(values: readonly Maybe<Uint8Array>[]): string {
  return `{${values.map((value) => (value ? hexOf(value) : "null")).join(",")}}`;
}

/** A column of times, given in milliseconds since 1970. */
export function times(values: readonly Maybe<number>[]): string {
  // Most columns have one time in all places, and a date costs more to write than all else of a row.
  let last: Maybe<number>;
  let text = "null";
  const written = values.map((value) => {
    if (value === last) return text;
    last = value;
    text = value === undefined || value === null ? "null" : `"${new Date(value).toISOString()}"`;
    return text;
  });
  return `{${written.join(",")}}`;
}

function hexOf(value: Uint8Array): string {
  return `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}"`;
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}
