/** What a connection may cost, each with its reason. */
export const limits = {
  /**
   * Calls of one connection at once: the gateway has one connection a worker, and several hundred calls wait
   * in batches.
   */
  concurrentStreams: 4_096,
  /** One request's names and values, each with 32 bytes more: as much as most servers take. */
  headerListBytes: 65_536,
  /** Pieces of one block of headers: empty ones would otherwise come without end. */
  continuations: 32,
  /** What the peer's encoder may have us remember: the protocol's own default. */
  headerTableBytes: 4_096,
  /** The window of one connection, so that many small requests are not held up by flow control. */
  connectionWindowBytes: 16 * 1_048_576,
  /** Kept of requests that are not complete yet, over all streams of a connection. */
  incompleteBytes: 64 * 1_048_576,
  /**
   * Kept of answers that their peer has no room for, over all streams of a connection: as much as of
   * requests. A large answer is some MiB, and a peer that shuts its windows may ask for thousands.
   */
  waitingBytes: 64 * 1_048_576,
  /** A peer that has not introduced itself by then never will. */
  prefaceMs: 10_000,
  /**
   * Longer than any call lasts: a stream whose peer owes us the rest of its request, or room for an answer.
   */
  streamSilenceMs: 60_000,
  /** Bytes that wait for the socket before bodies are kept back. */
  unsentBytes: 1_048_576,
  /** A peer that takes nothing for so long of what waits for it is gone. */
  unsentMs: 30_000,
  /** Answers to pings that wait behind what the peer does not read. */
  unsentAnswers: 1_000,
  /**
   * Settings, of which a peer has one to say at its start, and so many more each second: another first window
   * is brought to all streams.
   */
  settings: 100,
  settingsPerSecond: 10,
  /**
   * Streams that the peer takes back: as many as there may be at once, and so many more each second. Each
   * costs us the beginning of a call (CVE-2023-44487).
   */
  resets: 4_096,
  resetsPerSecond: 1_000,
  /** Frames for streams that are over, which are answered each. */
  strayFrames: 1_000,
  /** How long a peer may take to read that a connection ends, and then its last words. */
  farewellMs: 1_000,
  /** How often a server looks for what has been silent for too long. */
  sweepMs: 2_000,
} as const;
