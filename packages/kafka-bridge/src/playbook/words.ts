/** A share as people write it. */
export function percent(ratio: number): string {
  return `${Number((ratio * 100).toFixed(3))}%`;
}

/** A duration in the largest unit that keeps it whole enough to read. */
export function words(durationMs: number): string {
  const units: [number, string][] = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1_000, 'second'],
  ];
  for (const [size, unit] of units) {
    if (durationMs >= 2 * size || durationMs === size) {
      const amount = Number((durationMs / size).toFixed(1));
      return `${amount} ${unit}${amount === 1 ? '' : 's'}`;
    }
  }
  return durationMs >= 1_000 ? `${Number((durationMs / 1_000).toFixed(1))} seconds` : `${Math.round(durationMs)} ms`;
}
