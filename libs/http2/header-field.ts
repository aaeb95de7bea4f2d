/** One header field, as a table of HPACK keeps it and as a request shows it. */
export type HeaderField = {
  readonly name: string;
  readonly value: string;
  /** Bytes of the field as RFC 7541, section 4.1, counts them. */
  readonly size: number;
  /** Whether RFC 9113, section 8.2, lets the field stand in a request, as far as one field alone can tell. */
  readonly wellFormed: boolean;
  /** What of it is due to the name, so that no name is judged twice. */
  readonly hasGoodName: boolean;
};

/** What a field costs beside its octets (RFC 7541, section 4.1). */
export const FIELD_OVERHEAD_BYTES = 32;

/** Makes a field of latin1 strings, so that a character is an octet, and judges it once and for all. */
export function headerField(name: string, value: string): HeaderField {
  return fieldOf(name, value, isName(name));
}

/** Makes the field of the same name with another value, without judging the name again. */
export function withValue({ name, hasGoodName }: HeaderField, value: string): HeaderField {
  return fieldOf(name, value, hasGoodName);
}

function fieldOf(name: string, value: string, hasGoodName: boolean): HeaderField {
  return {
    name,
    value,
    size: name.length + value.length + FIELD_OVERHEAD_BYTES,
    wellFormed: hasGoodName && isValueOf(name, value),
    hasGoodName,
  };
}

// The characters of a token (RFC 9110, section 5.6.2) without the upper case.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// Other control characters are let pass, as RFC 9113, section 8.2.1, does.
const FORBIDDEN_IN_VALUE = /[\0\r\n]/;
const COLON = 0x3a;
const SPACE = 0x20;
const TAB = 0x09;

function isName(name: string): boolean {
  if (name.charCodeAt(0) === COLON) {
    return name === ":path" || name === ":method" || name === ":authority" || name === ":scheme";
  }
  return TOKEN.test(name) && !isOfTheConnection(name);
}

// What HTTP/1.1 says about one connection has no meaning here (RFC 9113, section 8.2.2). The length is
// compared first because nearly all names end there.
function isOfTheConnection(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === "upgrade";
    case 10:
      return name === "connection" || name === "keep-alive";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

function isValueOf(name: string, value: string): boolean {
  if (name.length === 2 && name === "te" && value !== "trailers") return false;
  if (value.length === 0) return true;
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(value.length - 1);
  if (first === SPACE || first === TAB || last === SPACE || last === TAB) return false;
  return !FORBIDDEN_IN_VALUE.test(value);
}
