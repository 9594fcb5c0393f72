/** Ratios of the ramp. */

/** Ratios are worked out in whole thousandths of a percent, so that ten steps of 0.1 are ten steps. */
const SCALE = 100_000;

/** The ratios of a ramp above what is reached already, in order, ending with 1. */
export function rampRatios(step: number, reached = 0): number[] {
  const increment = Math.max(1, Math.round(step * SCALE));
  const ratios: number[] = [];
  for (let ratio = Math.round(reached * SCALE) + increment; ratio < SCALE; ratio += increment)
    ratios.push(ratio / SCALE);
  return [...ratios, 1];
}

/** The ratio to step back to: the highest of the ramp below the one given, 0 below its first. */
export function ratioBefore(step: number, ratio: number): number {
  const increment = Math.max(1, Math.round(step * SCALE));
  const steps = Math.ceil(Math.round(ratio * SCALE) / increment) - 1;
  return Math.max(0, steps * increment) / SCALE;
}
