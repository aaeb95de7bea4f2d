import { RenewedMap } from "./map.ts";

/** A set for what comes and goes all the time: a RenewedMap of each value to itself. */
export class RenewedSet<Value> {
  readonly #values = new RenewedMap<Value, Value>();

  get size(): number {
    return this.#values.size;
  }

  has(value: Value): boolean {
    return this.#values.has(value);
  }

  add(value: Value): void {
    this.#values.set(value, value);
  }

  delete(value: Value): boolean {
    return this.#values.delete(value);
  }

  /** In the order in which they came. Those that go meanwhile are left out; those that come may be. */
  [Symbol.iterator](): Generator<Value> {
    return this.#values.values();
  }
}
