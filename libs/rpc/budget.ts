/** What may be sent to a dependency beyond the calls that are wanted of it. */
export type RetryBudget = {
  /** To be told of each wanted call: it adds a share of a repetition. */
  earn(): void;
  /** Takes one repetition, if there is one. */
  spend(): boolean;
};

/**
 * Repetitions a wanted call: an outage must not be answered by twice the load. With what may be saved up, a
 * process that wants 200 calls or more makes at most 1.1 times as many.
 */
const SHARE = 0.08;
/**
 * Repetitions that may be saved up: enough for what is under way (Order's four batches at once) when a
 * connection breaks.
 */
const SAVED_MAX = 4;

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
