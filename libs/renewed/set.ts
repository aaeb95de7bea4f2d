import { RENEWAL_MIN } from "./map.ts";

/** A set for what comes and goes all the time; see RenewedMap. */
export class RenewedSet<Value> {
  #values = new Set<Value>();
  #gone = 0;

  get size(): number {
    return this.#values.size;
  }

  has(value: Value): boolean {
    return this.#values.has(value);
  }

  add(value: Value): void {
    this.#values.add(value);
  }

  delete(value: Value): boolean {
    if (!this.#values.delete(value)) return false;
    this.#gone += 1;
    if (this.#gone >= RENEWAL_MIN && this.#gone >= this.#values.size) {
      this.#gone = 0;
      this.#values = new Set(this.#values);
    }
    return true;
  }

  /** In the order in which they came. Those that go meanwhile are left out; those that come may be. */
  *[Symbol.iterator](): Generator<Value> {
    const values = this.#values;
    for (const value of values) {
      if (values === this.#values || this.#values.has(value)) yield value;
    }
  }
}
