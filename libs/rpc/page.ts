import { createHash } from "node:crypto";
import { invalidField } from "#libs/reasons";

const DEFAULT_PAGE_SIZE = 50;
const FILTER_HASH_CHARACTERS = 11;

/** The number of rows of a page: what was asked for, or 50. The contract's rules have bounded it. */
export function pageSizeOf(requested: number): number {
  return requested === 0 ? DEFAULT_PAGE_SIZE : requested;
}

/** Makes the token of the page that follows `key`, bound to the list's filter. */
export function encodePageToken(filter: readonly unknown[], key: readonly string[]): string {
  return Buffer.from(JSON.stringify([hashOf(filter), ...key])).toString("base64url");
}

/**
 * What a part of a key is: a whole number is at most 15 digits, which are exact; a time is in milliseconds.
 */
export type PagePart = "text" | "uuid" | "number" | "time";

/** The end of the year 9999: a later time is written in a way that the database can't read. */
const LAST_TIME = 253_402_300_799_999;

const isRight: Readonly<Record<PagePart, (part: string) => boolean>> = {
  text: () => true,
  uuid: (part) => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(part),
  number: (part) => /^\d{1,15}$/.test(part),
  time: (part) => /^\d{1,15}$/.test(part) && Number(part) <= LAST_TIME,
};

/**
 * Reads the key out of a page token; undefined for the first page. Refuses a token of another list or filter,
 * and one that was made up: a part that is not what `key` says.
 */
export function decodePageToken(
  token: string,
  filter: readonly unknown[],
  key: readonly PagePart[],
): string[] | undefined {
  if (token === "") return undefined;
  const [hash, ...parts] = parse(token) ?? [];
  const isKey = parts.length === key.length && key.every((kind, index) => isRight[kind](parts[index] ?? ""));
  if (hash !== hashOf(filter) || !isKey) {
    throw invalidField("page_token", "is not a token of this list with this filter: start again without it");
  }
  return parts;
}

function parse(token: string): string[] | undefined {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    return Array.isArray(parts) && parts.every(isText) ? parts : undefined;
  } catch {
    return undefined;
  }
}

// The parts go to the database, which has no place for NUL and for half a surrogate pair.
function isText(part: unknown): part is string {
  return typeof part === "string" && part.isWellFormed() && !part.includes("\0");
}

function hashOf(filter: readonly unknown[]): string {
  return createHash("sha256")
    .update(JSON.stringify(filter))
    .digest("base64url")
    .slice(0, FILTER_HASH_CHARACTERS);
}

/**
 * Cuts what was read, which is one more than the page has if there is another page, to the page; `last` is
 * its last entry then.
 */
export function pageOf<Entry>(
  found: readonly Entry[],
  pageSize: number,
): { readonly page: readonly Entry[]; readonly last: Entry | undefined } {
  const page = found.slice(0, pageSize);
  return { page, last: found.length > pageSize ? page.at(-1) : undefined };
}
