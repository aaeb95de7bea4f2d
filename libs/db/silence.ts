/** Notices a server that owes an answer and says nothing. */
export type Listener = {
  /** To be told of all that is sent, in whole messages, but for the requests that open a connection. */
  sent(data: Uint8Array): void;
  /** To be told that a start-up message is sent. */
  started(): void;
  /** To be told of all that comes, in whatever pieces. */
  received(data: Uint8Array): void;
  stop(): void;
};

/** A message's type and length; the length counts itself and not the type. */
const HEADER_BYTES = 5;

// The types of messages that matter here, by the protocol's own letters.
const [QUERY, SYNC, FLUSH, READY_FOR_QUERY] = [0x51, 0x53, 0x48, 0x5a];

/** Listens to the connections of a pool. */
export type Watch = {
  /** Begins to listen to a connection; `close` is called when it is given up. */
  listen(close: () => void): Listener;
};

type Listening = { readonly close: () => void; heardAt: number };

/**
 * Listens to the connections of a pool in Postgres' protocol (version 3). Once one has been owed an answer
 * and nothing at all has come for so long, it is given up, and with it those from which nothing has come for
 * as long: they go to the same server, and would each cost the limit again. While nothing is owed on any of
 * them, as with idle connections or a transaction whose work is elsewhere, any silence is fine.
 */
export function watchForSilence(limitMs: number): Watch {
  const listening = new Set<Listening>();
  function giveUp(silent: Listening): void {
    const heardBefore = performance.now() - limitMs;
    for (const one of listening) if (one === silent || one.heardAt <= heardBefore) one.close();
  }
  return {
    listen: (close) => {
      const own: Listening = { close, heardAt: performance.now() };
      listening.add(own);
      const listener = listenTo(limitMs, () => giveUp(own));
      return {
        ...listener,
        received: (data) => {
          own.heardAt = performance.now();
          listener.received(data);
        },
        stop: () => {
          listening.delete(own);
          listener.stop();
        },
      };
    },
  };
}

function listenTo(limitMs: number, onSilence: () => void): Listener {
  /** Each Sync, each simple query and the start-up is answered with one ReadyForQuery. */
  let readiesOwed = 0;
  /** A Flush is answered too, with whatever there is. */
  let isFlushOwed = false;
  let isSuspected = false;
  const readSent = createReader((type) => {
    if (type === SYNC || type === QUERY) readiesOwed += 1;
    else if (type === FLUSH) isFlushOwed = true;
  });
  const readReceived = createReader((type) => {
    if (type === READY_FOR_QUERY && readiesOwed > 0) readiesOwed -= 1;
  });
  const isOwed = () => readiesOwed > 0 || isFlushOwed;

  const timer = setTimeout(() => {
    if (!isOwed()) return;
    // After a long turn of the loop timers come first, and the answer may lie in the socket: it is read now.
    isSuspected = true;
    setImmediate(() => {
      if (isSuspected) onSilence();
    });
  }, limitMs).unref();

  // More work for a silent server must not give it more time.
  function owing(note: () => void): void {
    const wasOwed = isOwed();
    note();
    if (!wasOwed && isOwed()) timer.refresh();
  }

  return {
    sent: (data) => owing(() => readSent(data)),
    started: () =>
      owing(() => {
        readiesOwed += 1;
      }),
    received: (data) => {
      isSuspected = false;
      isFlushOwed = false;
      readReceived(data);
      if (isOwed()) timer.refresh();
    },
    stop: () => {
      isSuspected = false;
      clearTimeout(timer);
    },
  };
}

/** Reads the types of messages from a stream of them, however it is cut. */
function createReader(onMessage: (type: number) => void): (data: Uint8Array) => void {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let bytesLeft = 0;
  return (data) => {
    let at = 0;
    while (at < data.length) {
      if (headerBytes < HEADER_BYTES) {
        header[headerBytes] = data[at] ?? 0;
        headerBytes += 1;
        at += 1;
        if (headerBytes < HEADER_BYTES) continue;
        bytesLeft = header.readUInt32BE(1) - (HEADER_BYTES - 1);
      }
      const step = Math.min(bytesLeft, data.length - at);
      bytesLeft -= step;
      at += step;
      if (bytesLeft > 0) continue;
      headerBytes = 0;
      onMessage(header[0] ?? 0);
    }
  };
}
