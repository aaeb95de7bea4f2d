import { once } from "node:events";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type Settings } from "node:http2";

export type Reply = {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders;
  /** Why the stream was closed. */
  readonly code: number;
};

export type Question = {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly trailers?: Readonly<Record<string, string>>;
};

/** Opens a connection of node:http2, whose settings the server has acknowledged. */
export async function openSession(port: number, settings: Settings = {}): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`, { settings, maxSendHeaderBlockLength: 1 << 20 });
  await Promise.all([once(session, "connect"), once(session, "localSettings")]);
  return session;
}

/** Sends a request and collects all of its answer. */
export async function ask(session: ClientHttp2Session, question: Question = {}): Promise<Reply> {
  const { path = "/", headers = {}, body, trailers } = question;
  const request = session.request(
    { ":method": "POST", ":path": path, ...headers },
    { endStream: body === undefined && trailers === undefined, waitForTrailers: trailers !== undefined },
  );
  let answered: IncomingHttpHeaders = {};
  let answeredAtEnd: IncomingHttpHeaders = {};
  const pieces: Buffer[] = [];
  request.on("response", (fields: IncomingHttpHeaders) => (answered = fields));
  request.on("trailers", (fields: IncomingHttpHeaders) => (answeredAtEnd = fields));
  request.on("data", (piece: Buffer) => pieces.push(piece));
  request.on("wantTrailers", () => request.sendTrailers(trailers ?? {}));
  if (body !== undefined || trailers !== undefined) request.end(body);
  await once(request, "close");
  return {
    headers: answered,
    body: Buffer.concat(pieces),
    trailers: answeredAtEnd,
    code: request.rstCode,
  };
}
