import type { Stencil } from "./stencil.ts";

/**
 * What became of a call: `OK`, the name of an RPC's code or an error's reason, or how the connection failed.
 */
export type Outcome = string;

/** A client that is as cheap as it can be, since it shares the machine with what it measures. */
export type Client = {
  /** Sends a call; `done` is told its outcome, later, exactly once. */
  send(stencil: Stencil, values: readonly string[], done: (outcome: Outcome) => void): void;
  close(): void;
};

export const OK = "OK";

/** The outcome of a call whose connection ended before its answer came. */
export const CONNECTION_LOST = "CONNECTION_LOST";

/** Splits `http://host:port`. */
export function addressOf(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
