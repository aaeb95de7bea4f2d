/** Cuts `host:port` apart, the host without the brackets of an IPv6 address. */
export function splitAddress(address: string): [host: string, port: number] {
  const at = address.lastIndexOf(":");
  const port = Number(address.slice(at + 1));
  if (at < 1 || !Number.isInteger(port)) throw new Error(`${address} is not an address: write host:port`);
  return [withoutBrackets(address.slice(0, at)), port];
}

/** Puts `host:port` together, an IPv6 address in brackets. */
export function joinAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A host as sockets take it: only addresses and URLs have brackets around IPv6. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}
