/** A frame's head: one byte that says whether the message is compressed, four that say how long it is. */
export const FRAME_HEAD_BYTES = 5;

/** A message as gRPC carries it, uncompressed. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, FRAME_HEAD_BYTES);
  return frame;
}
