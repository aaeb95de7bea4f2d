/** The fewest entries that go between two renewals: the cost of a renewal is nothing beside theirs. */
const RENEWAL_MIN = 32;

/**
 * A map for what comes and goes all the time, such as the calls under way: a Map that is now and then
 * replaced by a copy.
 *
 * V8 gives a Map that entries come to and go from a new table time and again, and a table that is outgrown
 * still names its last entries and the next table. Once one of them has got into the old generation, all that
 * follow are kept alive by those before them until the next full collection, and so is every entry that was
 * in one when it was outgrown ("nepotism": Jones, Hosking and Moss, "The Garbage Collection Handbook", 2011,
 * section 9.6). A copy is named by no table before it.
 */
export class RenewedMap<Key, Value> {
  #entries = new Map<Key, Value>();
  #gone = 0;

  get size(): number {
    return this.#entries.size;
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  has(key: Key): boolean {
    return this.#entries.has(key);
  }

  set(key: Key, value: Value): void {
    this.#entries.set(key, value);
  }

  delete(key: Key): boolean {
    if (!this.#entries.delete(key)) return false;
    this.#gone += 1;
    if (this.#gone >= RENEWAL_MIN && this.#gone >= this.#entries.size) {
      this.#gone = 0;
      this.#entries = new Map(this.#entries);
    }
    return true;
  }

  /** In the order in which they came. Those that go meanwhile are left out; those that come may be. */
  *entries(): Generator<[Key, Value]> {
    const entries = this.#entries;
    for (const entry of entries) {
      if (entries === this.#entries || this.#entries.has(entry[0])) yield entry;
    }
  }

  /** As `entries`. */
  *values(): Generator<Value> {
    for (const [, value] of this.entries()) yield value;
  }
}
