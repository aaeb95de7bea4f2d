export { type ConfigSpec, readConfig, type Variable } from "./config.ts";
export { createLogger } from "./log.ts";
export { type Loop, startLoop } from "./loop.ts";
export { createMetrics, type Metrics } from "./metrics.ts";
export { type OpsServer, type Readiness, startOpsServer } from "./ops.ts";
export { runProcess, type Stoppable } from "./process.ts";
export { type ServiceConfig, serviceConfigOf, serviceConfigSpec } from "./service-config.ts";
export { createTurns } from "./turns.ts";
