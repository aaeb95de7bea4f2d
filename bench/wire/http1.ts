import { connect, type Socket } from "node:net";
import { addressOf, type Client, CONNECTION_LOST, OK, type Outcome } from "./client.ts";
import { fillStencil, makeStencil, type Stencil } from "./stencil.ts";

type Done = (outcome: Outcome) => void;

const HEAD_END = Buffer.from("\r\n\r\n", "latin1");
const LAST_CHUNK = Buffer.from("0\r\n\r\n", "latin1");

/** A JSON call over HTTP/1.1. */
export function jsonStencil(call: {
  readonly authority: string;
  readonly path: string;
  readonly body: string;
  readonly blanks: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}): Stencil {
  const body = Buffer.from(call.body, "utf8");
  const further = Object.entries(call.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const head =
    `POST ${call.path} HTTP/1.1\r\nhost: ${call.authority}\r\ncontent-type: application/json\r\n` +
    `${further.join("")}content-length: ${body.length}\r\n\r\n`;
  return makeStencil(Buffer.concat([Buffer.from(head, "latin1"), body]), call.blanks);
}

/**
 * Opens one kept connection for each caller, as most clients of a JSON API have them: each carries one call
 * at a time.
 */
export async function openHttp1Client(url: string, callers: number): Promise<Client> {
  const opening = Array.from({ length: callers }, () => openConnection(url));
  const idle = await Promise.all(opening);
  const all = [...idle];
  const queue: { stencil: Stencil; values: readonly string[]; done: Done }[] = [];
  function release(connection: Http1Connection): void {
    const next = queue.shift();
    if (next) start(connection, next.stencil, next.values, next.done);
    else idle.push(connection);
  }
  function start(connection: Http1Connection, stencil: Stencil, values: readonly string[], done: Done): void {
    connection.send(stencil, values, (outcome) => {
      release(connection);
      done(outcome);
    });
  }
  return {
    send: (stencil, values, done) => {
      // In turns, so that none is idle for so long that the gateway closes it.
      const connection = idle.shift();
      if (connection) start(connection, stencil, values, done);
      else queue.push({ stencil, values, done });
    },
    close: () => {
      for (const connection of all) connection.close();
    },
  };
}

async function openConnection(url: string): Promise<Http1Connection> {
  const { host, port } = addressOf(url);
  const socket = connect({ host, port, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return new Http1Connection(socket);
}

class Http1Connection implements Client {
  readonly #socket: Socket;
  #answer: Buffer | undefined;
  #done: Done | undefined;
  #lost = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("close", () => this.#lose());
    socket.on("error", () => this.#lose());
  }

  send(stencil: Stencil, values: readonly string[], done: Done): void {
    if (this.#lost) {
      queueMicrotask(() => done(CONNECTION_LOST));
      return;
    }
    this.#done = done;
    const bytes = Buffer.allocUnsafe(stencil.bytes.length);
    fillStencil(stencil, values, bytes, 0, 0);
    this.#socket.write(bytes);
  }

  close(): void {
    this.#lost = true;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const bytes = this.#answer ? Buffer.concat([this.#answer, chunk]) : chunk;
    const outcome = outcomeOf(bytes);
    this.#answer = outcome === undefined ? bytes : undefined;
    if (outcome !== undefined) this.#finish(outcome);
  }

  #finish(outcome: Outcome): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(outcome);
  }

  #lose(): void {
    this.#lost = true;
    this.#finish(CONNECTION_LOST);
  }
}

// Undefined until the whole answer is there.
function outcomeOf(answer: Buffer): Outcome | undefined {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const bodyAt = headEnd + HEAD_END.length;
  const head = answer.toString("latin1", 0, headEnd);
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  const complete = length
    ? answer.length >= bodyAt + Number(length)
    : answer.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK);
  if (!complete) return undefined;
  const status = head.slice(9, 12);
  if (status === "200") return OK;
  return /"reason":\s*"(\w+)"/.exec(answer.toString("latin1", bodyAt))?.[1] ?? `HTTP_${status}`;
}
