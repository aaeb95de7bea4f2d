/** Lets so many through at once, and so many a second later (a token bucket). */
export class RateLimit {
  readonly #most: number;
  readonly #perSecond: number;
  #left: number;
  #filledAt = performance.now();

  constructor(most: number, perSecond: number) {
    this.#most = most;
    this.#perSecond = perSecond;
    this.#left = most;
  }

  /** Whether one more is let through. */
  take(): boolean {
    if (this.#left < 1) {
      const now = performance.now();
      this.#left = Math.min(this.#most, this.#left + ((now - this.#filledAt) * this.#perSecond) / 1_000);
      this.#filledAt = now;
      if (this.#left < 1) return false;
    }
    this.#left -= 1;
    return true;
  }
}
