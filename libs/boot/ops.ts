import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { joinAddress, splitAddress } from "#libs/http2";

/** Whether the process can do its work, part by part: `ok`, or what is wrong. */
export type Readiness = () => Promise<Readonly<Record<string, string>>>;

/** What else whoever looks should know; it makes nothing unready. */
export type Notes = () => Readonly<Record<string, string>>;

/** A balancer asks every second or so; one that gets no answer takes the process for unready anyway. */
const READINESS_TIMEOUT_MS = 2_000;

export type OpsServer = {
  /** `host:port` as it is listened on. */
  readonly address: string;
  /** From now on /readyz answers 503, so that nothing new is sent here. */
  setStopping(): void;
  stop(): Promise<void>;
};

/**
 * Serves a process's keepers over HTTP/1.1: `/livez` (it runs), `/readyz` (it can work; 503 and the reasons
 * otherwise) and `/metrics` (Prometheus text).
 */
export async function startOpsServer(options: {
  readonly address: string;
  readonly readiness: Readiness;
  readonly notes?: Notes;
  readonly registry: Registry;
  readonly log: Logger;
}): Promise<OpsServer> {
  let stopping = false;

  async function answer(path: string, response: ServerResponse): Promise<void> {
    if (path === "/livez") {
      send(response, 200, { status: "ok" });
    } else if (path === "/readyz") {
      const parts = stopping ? { process: "is stopping" } : await inTime(options.readiness());
      const ready = Object.values(parts).every((state) => state === "ok");
      const notes = options.notes?.() ?? {};
      send(response, ready ? 200 : 503, { status: ready ? "ok" : "unavailable", ...notes, ...parts });
    } else if (path === "/metrics") {
      const text = await options.registry.metrics();
      response.writeHead(200, { "content-type": options.registry.contentType }).end(text);
    } else {
      send(response, 404, { status: "there is /livez, /readyz and /metrics" });
    }
  }

  const server = createServer((request, response) => {
    answer(request.url ?? "", response).catch((error: unknown) => {
      options.log.error({ err: error }, "an operations request failed");
      send(response, 500, { status: "failed: the log says why" });
    });
  });
  const [host, port] = splitAddress(options.address);
  server.listen(port, host);
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("the operations server has no address");
  return {
    address: joinAddress(bound.address, bound.port),
    setStopping: () => {
      stopping = true;
    },
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await Promise.resolve();
    },
  };
}

// A part that hangs is as good as one that says no.
async function inTime(parts: ReturnType<Readiness>): ReturnType<Readiness> {
  const signal = AbortSignal.timeout(READINESS_TIMEOUT_MS);
  const late = new Promise<Awaited<ReturnType<Readiness>>>((resolve) => {
    signal.addEventListener("abort", () => {
      resolve({ process: `did not look after its parts within ${READINESS_TIMEOUT_MS} ms` });
    });
  });
  return await Promise.race([parts, late]);
}

function send(response: ServerResponse, status: number, body: Readonly<Record<string, string>>): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}
