import type { RateSample } from '@owlmq/kafka-bridge/live-view';
import type { LegEnds } from '../leg-look.js';

/** An hour, while somebody looks. */
const MOST_SAMPLES = 1_800;
/** Nobody looked for so long: the line of a chart breaks. Runs that have ended are looked at every half minute. */
const GAP_MS = 60_000;

/** How fast the topics of both legs have grown, from one look to the next. */
export class RateSeries {
  #samples: RateSample[] = [];
  #last: LegEnds | undefined;

  /** Oldest first. */
  get samples(): readonly RateSample[] {
    return this.#samples;
  }

  /** @returns the new sample, which is the mean since the look before; null at the first one, and after a gap. */
  add(ends: LegEnds): RateSample | null {
    const before = this.#last;
    this.#last = ends;
    if (before === undefined || ends.atMs <= before.atMs) return null;
    const elapsedMs = ends.atMs - before.atMs;
    const sample = {
      atMs: ends.atMs,
      kafka: perSecond(before.kafka, ends.kafka, elapsedMs),
      owlmq: perSecond(before.owlmq, ends.owlmq, elapsedMs),
    };
    // The mean over hours in which nobody looked is no rate of now.
    const gap = elapsedMs > GAP_MS;
    const taken = gap ? { atMs: before.atMs + 1, kafka: null, owlmq: null } : sample;
    this.#samples = [...this.#samples, taken].slice(-MOST_SAMPLES);
    return gap ? null : sample;
  }
}

/** A topic that was made anew ends earlier than before: no rate is known then. */
function perSecond(before: number | null, after: number | null, elapsedMs: number): number | null {
  if (before === null || after === null || after < before) return null;
  return Math.round(((after - before) * 10_000) / elapsedMs) / 10;
}
