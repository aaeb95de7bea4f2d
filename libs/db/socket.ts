import { Socket } from "node:net";

/** Where the driver wants to connect; it keeps lists, and ours have one entry. */
export type Target = {
  readonly host: readonly string[];
  readonly port: readonly number[];
  /** Of a Unix socket, instead of both. */
  readonly path?: string | false | undefined;
};

/** The code in a start-up message: version 3.0 of the protocol. */
const PROTOCOL_VERSION = 0x0003_0000;
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
 * never:
 *
 * - After an `error` of the socket it keeps what was sent since then and takes it for the first statement of
 * the next
 *   connection. So an error is not told once the connection stands: its `close` comes right after, and
 * rejects all.
 * - What was gathered and not sent yet when the socket closed is sent before the next start-up message, and
 * the timer
 *   for sending is never set again. So the start-up message is long, which needs no timer, and what stands
 * before it
 *   is cut off.
 */
export function openSocket({ host: [host = ""], port: [port = 0], path }: Target): Socket {
  const socket = new Socket();
  let hasConnected = false;
  let hasStarted = false;
  socket.once("connect", () => {
    hasConnected = true;
  });

  const emit = socket.emit.bind(socket);
  socket.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event === "error" && hasConnected) return true;
    // "Without an error": then the driver rejects all that waits for an answer.
    return event === "close" && hasConnected ? emit(event, false) : emit(event, ...args);
  };

  const { write } = socket;
  socket.write = (data: string | Uint8Array, ...rest: unknown[]): boolean => {
    const isFirst = !hasStarted;
    hasStarted = true;
    const whole = isFirst && data instanceof Uint8Array ? fromStartUp(Buffer.from(data)) : data;
    return Boolean(Reflect.apply(write, socket, [whole, ...rest]));
  };
  socket.setNoDelay(true);
  return path ? socket.connect(path) : socket.connect({ host, port });
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
