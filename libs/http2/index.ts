export { joinAddress, splitAddress, withoutBrackets } from "./address.ts";
export {
  ConnectionError,
  errorCodes,
  FRAME_HEAD_BYTES,
  flags,
  frameTypes,
  PREFACE,
  settingIds,
} from "./frames.ts";
export { type OutgoingField, RepeatedField } from "./header-encoder.ts";
export { type Http2Server, type Http2ServerOptions, startHttp2Server } from "./server.ts";
export type { ServerStream } from "./stream.ts";
