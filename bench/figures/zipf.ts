/**
 * Draws numbers from 0 to `count` - 1, the n-th as often as 1 / (n + 1) says (Zipf's law), as customers
 * choose items. `random` gives numbers from 0 up to 1.
 */
export function zipf(count: number, random: () => number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank += 1) {
    sum += 1 / (rank + 1);
    sums[rank] = sum;
  }
  return () => {
    const drawn = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) > drawn) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Draws `size` different ones. */
export function drawDistinct(draw: () => number, size: number): number[] {
  const drawn = new Set<number>();
  while (drawn.size < size) drawn.add(draw());
  return [...drawn];
}

/** Numbers from 0 up to 1 that are the same in every run (mulberry32, by Tommy Ettinger). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
