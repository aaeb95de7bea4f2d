export { createRetryBudget, type RetryBudget } from "./budget.ts";
export { type Call, type Caller, type Handlers, type RpcMethod, type RpcService, service } from "./call.ts";
export { createRpcClient, instancesTried, type RpcClientOptions } from "./client.ts";
export { createGuard, type Guard, type GuardOptions, type GuardState } from "./guard.ts";
export { decodePageToken, encodePageToken, pageOf, pageSizeOf } from "./page.ts";
export {
  type RpcServer,
  type RpcServerOptions,
  STANDARD_STOP,
  type StopOptions,
  startRpcServer,
} from "./server.ts";
