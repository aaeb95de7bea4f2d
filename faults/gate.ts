import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#proto/google/rpc/error_details_pb.ts";
import { StatusSchema } from "#proto/google/rpc/status_pb.ts";

/** What becomes of a share (0 to 1) of the requests; the others are passed on. */
export type GateWeather = {
  readonly kind: "unavailable" | "reset";
  readonly share: number;
};

/** A relay of HTTP/2 requests before an instance, which counts them, and answers some in its place. */
export type Gate = {
  /** `host:port` to connect to instead of the instance's. */
  readonly address: string;
  setWeather(weather: GateWeather | undefined): void;
  /** Requests that have come, whatever became of them. */
  requests(): number;
  /** Those that were not passed on. */
  refused(): number;
  stop(): Promise<void>;
};

/** Starts a gate before `target` (`host:port`); it passes everything on until it is told otherwise. */
export async function startGate(target: string): Promise<Gate> {
  let weather: GateWeather | undefined;
  let requests = 0;
  let refused = 0;
  let far: ClientHttp2Session | undefined;
  const sessions = new Set<ServerHttp2Session>();

  function farSession(): ClientHttp2Session {
    if (far && !far.closed && !far.destroyed) return far;
    far = connect(`http://${target}`);
    far.on("error", () => {});
    return far;
  }

  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    requests += 1;
    stream.on("error", () => {});
    if (!weather || Math.random() >= weather.share) {
      passOn(stream, headers, farSession());
      return;
    }
    refused += 1;
    if (weather.kind === "reset") stream.session?.destroy();
    else refuse(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const listening = server.address();
  if (listening === null || typeof listening === "string") throw new Error("the gate has no port");

  return {
    address: `127.0.0.1:${listening.port}`,
    setWeather: (next) => {
      weather = next;
    },
    requests: () => requests,
    refused: () => refused,
    stop: async () => {
      for (const session of sessions) session.destroy();
      far?.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function passOn(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, far: ClientHttp2Session): void {
  const passed = far.request({ ...headers, ":authority": undefined });
  let trailers: IncomingHttpHeaders = {};
  passed.on("error", () => stream.close());
  passed.on("trailers", (fields: IncomingHttpHeaders) => {
    trailers = fields;
  });
  passed.on("response", (answer) => {
    if (!stream.destroyed && !stream.headersSent) {
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.respond(answer, { waitForTrailers: true });
    }
    passed.pipe(stream);
  });
  stream.on("close", () => passed.close());
  stream.pipe(passed);
}

// As an instance answers whose database is away, over gRPC.
function refuse(stream: ServerHttp2Stream): void {
  const info = create(ErrorInfoSchema, { reason: "DEPENDENCY_UNAVAILABLE", domain: "holdfast" });
  const message = "refused at the gate";
  const details = [anyPack(ErrorInfoSchema, info)];
  const status = create(StatusSchema, { code: Code.Unavailable, message, details });
  stream.resume();
  stream.respond(
    {
      ":status": 200,
      "content-type": "application/grpc+proto",
      "grpc-status": String(Code.Unavailable),
      "grpc-message": message,
      "grpc-status-details-bin": Buffer.from(toBinary(StatusSchema, status)).toString("base64"),
    },
    { endStream: true },
  );
}
