import type { HeaderField } from "./header-field.ts";

const COLON = 0x3a;

/** The headers of a request, as they came. */
export class RequestHead {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** What the client says that its body will have. */
  readonly contentLength: number | undefined;
  readonly #fields: readonly HeaderField[];
  readonly #from: number;

  constructor(
    method: string,
    path: string,
    contentLength: number | undefined,
    fields: readonly HeaderField[],
    from: number,
  ) {
    this.method = method;
    this.path = path;
    this.contentLength = contentLength;
    this.#fields = fields;
    this.#from = from;
  }

  /** The value of a header, by its lower-case name; several are joined by commas. */
  header(name: string): string | undefined {
    let found: string | undefined;
    const fields = this.#fields;
    for (let index = this.#from; index < fields.length; index += 1) {
      const field = fields[index];
      if (field?.name !== name) continue;
      found = found === undefined ? field.value : `${found}, ${field.value}`;
    }
    return found;
  }

  /** All headers but those that begin with a colon. */
  entries(): [name: string, value: string][] {
    return this.#fields.slice(this.#from).map(({ name, value }) => [name, value]);
  }
}

/**
 * Reads a request from the fields of its block; undefined if it is malformed (RFC 9113, section 8.1.1): a
 * field that may not be, a pseudo-header that is missing, repeated or too late. CONNECT is not served.
 */
export function readRequestHead(fields: readonly HeaderField[]): RequestHead | undefined {
  let method: string | undefined;
  let path: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let from = 0;
  for (; from < fields.length; from += 1) {
    const field = fields[from];
    if (!field?.wellFormed) return undefined;
    const { name, value } = field;
    if (name === ":method" && method === undefined) method = value;
    else if (name === ":path" && path === undefined) path = value;
    else if (name === ":scheme" && scheme === undefined) scheme = value;
    else if (name === ":authority" && authority === undefined) authority = value;
    else break;
  }
  if (!method || !path || !scheme || method === "CONNECT") return undefined;
  let length: string | undefined;
  for (let index = from; index < fields.length; index += 1) {
    const field = fields[index];
    if (!field?.wellFormed || field.name.charCodeAt(0) === COLON) return undefined;
    if (field.name !== "content-length") continue;
    if (!/^\d{1,15}$/.test(field.value) || (length !== undefined && length !== field.value)) return undefined;
    length = field.value;
  }
  return new RequestHead(method, path, length === undefined ? undefined : Number(length), fields, from);
}

/** Whether these may stand behind a body: nothing of a request's own, which came before. */
export function areTrailers(fields: readonly HeaderField[]): boolean {
  return fields.every(({ name, wellFormed }) => wellFormed && name.charCodeAt(0) !== COLON);
}
