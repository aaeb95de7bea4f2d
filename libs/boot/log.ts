import { type Logger, pino } from "pino";

/**
 * Bytes that are gathered before they are written: a write a line would be a fifth of the cost of a small
 * call.
 */
const BUFFER_BYTES = 8_192;
/** How long a line may wait in the buffer of a quiet process. */
const FLUSH_INTERVAL_MS = 200;

/** Logs JSON lines to standard output, and flushes them at exit. */
export function createLogger(options: { readonly instance: string; readonly level: string }): Logger {
  const destination = pino.destination({ dest: 1, sync: false, minLength: BUFFER_BYTES });
  const flushing = setInterval(() => {
    destination.flush();
  }, FLUSH_INTERVAL_MS);
  flushing.unref();
  const lines = gatherLines(destination);
  process.once("exit", () => {
    try {
      lines.flushSync();
    } catch {
      // The stream was never opened, or its reader has gone: nobody is left to read.
    }
  });
  return pino(
    {
      level: options.level,
      base: { instance: options.instance },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    lines,
  );
}

/**
 * Hands the lines of one turn of the event loop over in one piece: the destination measures all that it has
 * gathered each time that it is given something.
 */
function gatherLines(destination: { write(text: string): unknown; flushSync(): void }) {
  let lines: string[] = [];
  function handOver(): void {
    if (lines.length === 0) return;
    const text = lines.join("");
    lines = [];
    destination.write(text);
  }
  return {
    write: (line: string) => {
      if (lines.push(line) === 1) setImmediate(handOver);
    },
    flushSync: () => {
      handOver();
      destination.flushSync();
    },
  };
}
