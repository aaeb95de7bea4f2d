import { Socket } from "node:net";
import type { Watch } from "./silence.ts";

/** Where the driver wants to connect; it keeps lists, and ours have one entry. */
export type Target = {
  readonly host: readonly string[];
  readonly port: readonly number[];
  /** Of a Unix socket, instead of both. */
  readonly path?: string | false | undefined;
};

/** The code in a start-up message: version 3.0 of the protocol. */
const PROTOCOL_VERSION = 0x0003_0000;
/** Instead of it in a request for encryption and in one to cancel a statement: neither is answered so. */
const OTHER_REQUESTS: ReadonlySet<number> = new Set([80_877_103, 80_877_102]);
const HEADER_BYTES = 8;

/**
 * The driver sends a message at once if what it has gathered is at least this long, and otherwise a moment
 * later. A start-up message this long is sent in any case: see openSocket.
 */
const SENT_AT_ONCE_BYTES = 1_024;

/** A setting that makes the start-up message long enough to be sent at once; the server skips the spaces. */
export const longStartUp = { options: " ".repeat(SENT_AT_ONCE_BYTES) };

/**
 * Opens the socket of one connection so that its loss harms nobody else. postgres.js 3.4.9 has three faults
 * there (its issues 1133, 1208 and 1216), which end in statements that are answered with another's rows, or
 * never.
 *
 * After an `error` of the socket it keeps what was sent since then and takes it for the first statement of
 * the next connection. So an error is not told once the connection stands: its `close` comes right after, and
 * rejects all.
 *
 * What was gathered and not sent yet when the socket closed is sent before the next start-up message, and the
 * timer for sending is never set again. So the start-up message is long, which needs no timer, and what
 * stands before it is cut off.
 *
 * It has no limit for an answer either. So `watch` listens, and a connection that it gives up is closed,
 * which rejects what waits on it. (Encryption takes the socket over: then only TCP's own limits are left.)
 */
export function openSocket({ host: [host = ""], port: [port = 0], path }: Target, watch: Watch): Socket {
  const socket = new Socket();
  let hasConnected = false;
  let hasStarted = false;
  const listener = watch.listen(() => socket.destroy());
  socket.once("connect", () => {
    hasConnected = true;
  });

  const emit = socket.emit.bind(socket);
  socket.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event === "data" && args[0] instanceof Uint8Array) listener.received(args[0]);
    if (event === "close") listener.stop();
    if (event === "error" && hasConnected) return true;
    // "Without an error": then the driver rejects all that waits for an answer.
    return event === "close" && hasConnected ? emit(event, false) : emit(event, ...args);
  };

  socket.setNoDelay(true);
  if (path) socket.connect(path);
  else socket.connect({ host, port });
  // Only now: `connect` puts the socket's own `write` back.
  const { write } = socket;
  socket.write = (data: string | Uint8Array, ...rest: unknown[]): boolean => {
    const isFirst = !hasStarted;
    hasStarted = true;
    const whole = isFirst && data instanceof Uint8Array ? fromStartUp(Buffer.from(data)) : data;
    if (whole instanceof Uint8Array) {
      if (!isFirst) listener.sent(whole);
      else if (!OTHER_REQUESTS.has(Buffer.from(whole).readInt32BE(4))) listener.started();
    }
    return Boolean(Reflect.apply(write, socket, [whole, ...rest]));
  };
  return socket;
}

/** Cuts off what stands before a start-up message. */
export function fromStartUp(data: Buffer): Buffer {
  for (let at = 0; at + HEADER_BYTES <= data.length; at += 1) {
    if (data.readInt32BE(at) === data.length - at && data.readInt32BE(at + 4) === PROTOCOL_VERSION) {
      return data.subarray(at);
    }
  }
  // A request for encryption is short and comes alone.
  return data;
}
