export { type Call, type Caller, type Handlers, type RpcMethod, type RpcService, service } from "./call.ts";
