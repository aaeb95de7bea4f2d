import { build, type Histogram } from "hdr-histogram-js";

/** Latencies in microseconds, to three digits, from 1 µs to a minute. */
export type Latencies = Histogram;

const LONGEST_US = 60_000_000;

/** An empty histogram of latencies. */
export function noLatencies(): Latencies {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 32,
  });
}

/** Counts one latency, given in milliseconds; one above a minute counts as a minute. */
export function addLatency(latencies: Latencies, milliseconds: number): void {
  latencies.recordValue(Math.min(LONGEST_US, Math.max(1, Math.round(milliseconds * 1_000))));
}

/** One histogram of what all of them have counted. */
export function mergeLatencies(all: readonly Latencies[]): Latencies {
  const merged = noLatencies();
  for (const latencies of all) merged.add(latencies);
  return merged;
}

/** The latency in milliseconds that so many percent stay below; 0 when nothing was counted. */
export function percentileMs(latencies: Latencies, percent: number): number {
  return latencies.totalCount === 0 ? 0 : latencies.getValueAtPercentile(percent) / 1_000;
}
