/**
 * Columns as Postgres writes lists, for `unnest` and `any`. The driver can write them too, but looks at each
 * value three times and can't guess the type of an empty list.
 */

/** A column of ids: text without quotes or backslashes. */
export function uuids(values: readonly (string | undefined)[]): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`;
}

/** A column of numbers. */
export function numbers(values: readonly (number | bigint)[]): string {
  return `{${values.join(",")}}`;
}

/** A column of any texts. */
export function texts(values: readonly (string | undefined)[]): string {
  return `{${values.map((value) => (value === undefined ? "null" : quoted(value))).join(",")}}`;
}

/** A column of bytes. */
export function bytes(values: readonly (Uint8Array | undefined)[]): string {
  return `{${values.map((value) => (value ? hex(value) : "null")).join(",")}}`;
}

/** A column of times, given in milliseconds since 1970. */
export function times(values: readonly (number | undefined)[]): string {
  const written = values.map((value) => (value === undefined ? "null" : new Date(value).toISOString()));
  return `{${written.join(",")}}`;
}

function hex(value: Uint8Array): string {
  return `"\\\\x${Buffer.from(value).toString("hex")}"`;
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}
