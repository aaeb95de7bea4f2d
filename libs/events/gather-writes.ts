import type { Socket } from "node:net";

/**
 * Lets what is written to a socket in one go of the event loop leave in one system call: the driver writes
 * each message by itself. Nothing is kept back: the writes leave when the code that made them, with its
 * promises, has run.
 */
export function gatherWrites(socket: Socket): void {
  const { write } = socket;
  let gathering = false;
  const send = () => {
    gathering = false;
    socket.uncork();
  };
  socket.write = (...args: unknown[]): boolean => {
    if (!gathering) {
      gathering = true;
      socket.cork();
      process.nextTick(send);
    }
    return Boolean(Reflect.apply(write, socket, args));
  };
}
