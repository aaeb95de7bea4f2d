/** One header field, as a table of HPACK keeps it and as a request shows it. */
export type HeaderField = {
  readonly name: string;
  /** Without the spaces and tabs around it. */
  readonly value: string;
  /** Bytes of the field as it came, as RFC 7541, section 4.1, counts them. */
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

function fieldOf(name: string, sent: string, hasGoodName: boolean): HeaderField {
  const value = stripped(sent);
  return {
    name,
    value,
    size: name.length + sent.length + FIELD_OVERHEAD_BYTES,
    wellFormed: hasGoodName && isValueOf(name, value) && (value === sent || name.charCodeAt(0) !== COLON),
    hasGoodName,
  };
}

// RFC 9113, section 8.2.1, forbids spaces there, but Envoy lets them pass, and would count our refusal
// against this instance; gRPC lets a server take them off. A pseudo-header, by which Envoy has found the way,
// is refused all the same.
function stripped(value: string): string {
  let from = 0;
  let to = value.length;
  while (from < to && isSpace(value.charCodeAt(from))) from += 1;
  while (from < to && isSpace(value.charCodeAt(to - 1))) to -= 1;
  return value.slice(from, to);
}

function isSpace(octet: number): boolean {
  return octet === SPACE || octet === TAB;
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
  return !FORBIDDEN_IN_VALUE.test(value);
}
