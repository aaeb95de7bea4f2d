/** The middle of some figures, and how far they lie apart. */
export type Spread = { readonly median: number; readonly low: number; readonly high: number };

/** The median, the lowest and the highest of at least one figure. */
export function spreadOf(figures: readonly number[]): Spread {
  if (figures.length === 0) throw new Error("there is no median of nothing");
  const sorted = [...figures].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
  return { median, low: sorted[0] ?? 0, high: sorted.at(-1) ?? 0 };
}

/**
 * The ratios of figures that were measured in turns: each by the one beside it, so that what slowed the
 * machine down for a while is in both.
 */
export function ratiosOf(figures: readonly number[], references: readonly number[]): number[] {
  if (figures.length !== references.length) throw new Error("each figure needs the reference beside it");
  return figures.map((figure, index) => {
    const reference = references[index] ?? 0;
    if (reference <= 0) throw new Error(`the reference was ${reference}`);
    return figure / reference;
  });
}
