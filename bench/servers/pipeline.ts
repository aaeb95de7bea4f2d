import type { Logger } from "pino";
import { startRpcServer } from "#libs/rpc";
import { onlyCreateReservation } from "./one-method.ts";
import { answerReservation } from "./trivial.ts";

/**
 * Serves a trivial handler as the services serve theirs: by `libs/rpc`, with all that it does for every call.
 */
export async function servePipeline(address: string, log: Logger): Promise<void> {
  await startRpcServer({
    address,
    services: [onlyCreateReservation(async (request) => answerReservation(request))],
    reflected: [],
    log,
  });
}
