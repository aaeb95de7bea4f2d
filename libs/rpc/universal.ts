import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { type OutgoingField, RepeatedField, type ServerStream } from "#libs/http2";

/** A request in the form in which Connect's handlers take it from any server. */
export function requestOf(stream: ServerStream): UniversalServerRequest {
  const { head } = stream;
  const gone = new AbortController();
  const body = new BodyReader(stream);
  stream.onGone = () => {
    const error = new ConnectError("the caller went away", Code.Canceled);
    gone.abort(error);
    body.fail(error);
  };
  return {
    httpVersion: "2.0",
    method: head.method,
    // Only its query is looked at.
    url: `http://localhost${head.path}`,
    header: new Headers(head.entries()),
    body: body.pieces(),
    signal: gone.signal,
  };
}

/** Writes what a handler of Connect answers, no faster than its client reads. */
export async function writeResponse(stream: ServerStream, response: UniversalServerResponse): Promise<void> {
  const pieces = (response.body ?? nothing())[Symbol.asyncIterator]();
  // Behind the first piece, because a handler may set headers until then.
  let next = await pieces.next();
  stream.respond([statusOf(response.status), ...fieldsOf(response.header)]);
  for (; next.done !== true && !stream.closed; next = await pieces.next()) {
    if (!stream.write(next.value)) await roomOf(stream);
  }
  // Tells a handler that goes on that nobody listens any more.
  if (next.done !== true) await pieces.return?.();
  stream.finish(response.trailer && fieldsOf(response.trailer));
  stream.stopReading();
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

const statuses = new Map<number, RepeatedField>();

function statusOf(status: number): RepeatedField {
  let field = statuses.get(status);
  if (!field) {
    field = new RepeatedField(":status", String(status));
    statuses.set(status, field);
  }
  return field;
}

function fieldsOf(headers: Headers | undefined): OutgoingField[] {
  return headers ? Array.from(headers, ([name, value]) => ({ name, value })) : [];
}

async function roomOf(stream: ServerStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.onDrain = resolve;
  await promise;
}

/** The body of a request, piece by piece, as fast as it is asked for. */
class BodyReader {
  readonly #stream: ServerStream;
  readonly #pieces: Buffer[] = [];
  #isComplete: boolean;
  #error: ConnectError | undefined;
  #wake: (() => void) | undefined;

  constructor(stream: ServerStream) {
    this.#stream = stream;
    this.#isComplete = stream.ended;
    stream.onData = (piece) => {
      this.#pieces.push(piece);
      this.#wake?.();
    };
    stream.onEnd = () => {
      this.#isComplete = true;
      this.#wake?.();
    };
  }

  fail(error: ConnectError): void {
    this.#error = error;
    this.#wake?.();
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error) throw this.#error;
      const piece = this.#pieces.shift();
      if (piece) {
        yield piece;
        this.#stream.consumed(piece.length);
      } else if (this.#isComplete) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
