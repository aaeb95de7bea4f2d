/**
 * The longest that a call waits for those before it to come to the end of their way: several times what that
 * takes, unless a stage of it hangs, which is nothing to wait for.
 */
const PATIENCE_MS = 100;
/** Fewer calls on their way are no crowd: so little to do is done the sooner, and not the cheaper. */
const CROWD_CALLS = 48;
/** A batch of so many is large: what all of its calls share is little beside what each needs. */
const LARGE_BATCH_CALLS = 64;
/** This share of a crowd is as good as all of it, and the last are not waited for. */
const MOST = 0.75;
/** The longest that a crowd is given to come again. */
const RETURN_MS = 20;

/** The calls of one batch after the other on the way through their stages; see watchCrowd. */
export type Crowd = {
  /**
   * Until when so many waiting calls are to wait for more, in milliseconds of performance.now(); undefined if
   * the next batch may start with them.
   */
  waitsUntil(waiting: number): number | undefined;
  /** A batch of so many calls starts. */
  started(size: number): void;
  /** A call came to the end of its way. */
  ended(): void;
};

/**
 * Lets few large batches follow each other through the stages instead of many small ones. While calls go on,
 * the next batch waits until there are as many.
 *
 * Of a crowd these would be two groups that take turns, each always under way while the other is with its
 * callers. So once a crowd was on its way, fewer than most of that wait until all of it has come to its end,
 * and then up to half as long again as that way was, for its callers to come with their next calls: the
 * answers go through a gateway first. Where calls come without waiting for others' answers, as many have come
 * by then as were on their way, and nobody waits.
 */
export function watchCrowd(goingOn: () => number, maxBatch: number): Crowd {
  /** Of the last batch, with those that went on when it started. */
  let calls = 0;
  let startedAt = 0;
  let endedAt = 0;
  const large = Math.min(LARGE_BATCH_CALLS, maxBatch);
  const isEnough = (waiting: number) => calls < CROWD_CALLS || waiting >= MOST * Math.min(calls, large);
  return {
    waitsUntil: (waiting) => {
      const now = performance.now();
      const ahead = goingOn();
      if (waiting < Math.min(ahead, maxBatch)) return now + PATIENCE_MS;
      if (isEnough(waiting)) return undefined;
      if (ahead > 0) return now + PATIENCE_MS;
      const until = endedAt + Math.min((endedAt - startedAt) / 2, RETURN_MS);
      return now < until ? until : undefined;
    },
    started: (size) => {
      calls = size + goingOn();
      startedAt = performance.now();
    },
    ended: () => {
      endedAt = performance.now();
    },
  };
}
