/** What may be sent to a dependency beyond the calls that are wanted of it. */
export type RetryBudget = {
  /** To be told of each wanted call: it adds a share of a repetition. */
  earn(): void;
  /** Takes one repetition, if there is one. */
  spend(): boolean;
};

/**
 * Repetitions a wanted call: an outage must not be answered by twice the load. With what may be saved up, a
 * process that has wanted 1,000 calls has made at most 1.1 times as many.
 */
const SHARE = 0.09;
/** Repetitions that may be saved up, so that a lone failure of a quiet process is tried again. */
const SAVED_MAX = 10;

/** Makes a budget of repetitions (Google, "Site Reliability Engineering", 2016, chapter 21). */
export function createRetryBudget(): RetryBudget {
  let saved = SAVED_MAX;
  return {
    earn: () => {
      saved = Math.min(saved + SHARE, SAVED_MAX);
    },
    spend: () => {
      if (saved < 1) return false;
      saved -= 1;
      return true;
    },
  };
}
