import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#proto/grpc/health/v1/health_pb.ts";

/** Whether this process wants calls, for itself and for each service that it serves. */
export type HealthState = {
  readonly serviceNames: readonly string[];
  isServing(): boolean;
  /** Aborted when it takes no more calls: whoever watches is not waited for. */
  readonly left: AbortSignal;
};

/** How often a watched status is looked at. */
const WATCH_INTERVAL_MS = 500;

/** Serves grpc.health.v1. Its calls are many and say little, so they stay out of the pipeline and the log. */
export function addHealth(router: ConnectRouter, state: HealthState): void {
  router.service(Health, {
    check: ({ service }) => {
      const status = statusOf(state, service);
      if (status === undefined) throw new ConnectError(`there is no service ${service} here`, Code.NotFound);
      return { status };
    },
    list: () => ({
      statuses: Object.fromEntries(
        ["", ...state.serviceNames].map((name) => [
          name,
          { status: statusOf(state, name) ?? ServingStatus.UNKNOWN },
        ]),
      ),
    }),
    watch: async function* watch({ service }, context) {
      let told: ServingStatus | undefined;
      while (!context.signal.aborted) {
        // Asked before the status, so that NOT_SERVING is told in any case.
        const isLast = state.left.aborted;
        const status = statusOf(state, service) ?? ServingStatus.SERVICE_UNKNOWN;
        if (status !== told) yield { status };
        told = status;
        if (isLast) return;
        await pause(WATCH_INTERVAL_MS, undefined, { ref: false, signal: state.left }).catch(() => {});
      }
    },
  });
}

function statusOf(state: HealthState, name: string): ServingStatus | undefined {
  if (name !== "" && !state.serviceNames.includes(name)) return undefined;
  return state.isServing() ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
}
