/** The counters of one item, and how many rows its ledger has. */
export type Counters = {
  readonly onHand: number;
  readonly reserved: number;
  readonly available: number;
  readonly movements: number;
};

export type Line = { readonly sku: string; readonly quantity: number };

/** What the stock must be: computed here, beside the system, before it is asked. */
export type Expectation = {
  receive(lines: readonly Line[]): void;
  reserve(lines: readonly Line[]): void;
  /** Reserved units are given back. */
  release(lines: readonly Line[]): void;
  /** Reserved units are gone for good. */
  commit(lines: readonly Line[]): void;
  of(sku: string): Counters;
};

/** Makes the expectation of a shop that has nothing yet. */
export function createExpectation(): Expectation {
  const all = new Map<string, Counters>();
  const of = (sku: string) => all.get(sku) ?? { onHand: 0, reserved: 0, available: 0, movements: 0 };

  function change(lines: readonly Line[], onHandSign: number, reservedSign: number): void {
    for (const { sku, quantity } of lines) {
      const before = of(sku);
      const onHand = before.onHand + onHandSign * quantity;
      const reserved = before.reserved + reservedSign * quantity;
      if (reserved < 0 || reserved > onHand) throw new Error(`the demo expects the impossible of ${sku}`);
      const movements = before.movements + 1;
      all.set(sku, { onHand, reserved, available: onHand - reserved, movements });
    }
  }

  return {
    receive: (lines) => change(lines, 1, 0),
    reserve: (lines) => change(lines, 0, 1),
    release: (lines) => change(lines, 0, -1),
    commit: (lines) => change(lines, -1, -1),
    of,
  };
}
