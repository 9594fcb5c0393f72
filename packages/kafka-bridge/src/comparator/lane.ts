import type { Observation, ObservingSide } from '../consumer/observation.js';
import { OffsetSet, type OffsetRanges } from './offset-ranges.js';

/** An observation that waits for its counterpart. */
export interface Unmatched {
  observation: Observation;
  logOffset: number;
}

/** What is kept of a lane over a crash, besides the offsets of what it holds. */
export interface SavedLane {
  /** Partition of the observations topic. */
  log: number;
  parkedAt?: number | undefined;
  ahead?: OffsetRanges | undefined;
  judged?: OffsetRanges | undefined;
}

/** Ranges of judged offsets that are remembered of a lane. */
const MAX_JUDGED = 100;

/**
 * The observations of one side of a group in one partition, in the order of its offsets. Those before a place in the log
 * were taken; what is behind it is read later, once there is room.
 */
export class Lane {
  /** Waiting for their counterparts, by message id. */
  readonly held = new Map<string, Unmatched>();
  /** Where in the log the lane stands still; undefined: it goes along with the log. */
  parkedAt: number | undefined;
  /** Offsets of the log behind that place whose observations were compared already. */
  readonly ahead: Set<number>;
  /** Kafka offsets of messages that were judged without their counterpart. */
  readonly judged: OffsetSet;
  /** Last shadow observation of each message key, in order of the log. */
  readonly #lastOfKey = new Map<string, { logOffset: number; own: number; kafka: number }>();

  constructor(
    readonly side: ObservingSide,
    readonly log: number,
    /** Highest offset observed, on the leg that the side reads. */
    public seen: number,
    saved: SavedLane | undefined,
  ) {
    this.parkedAt = saved?.parkedAt;
    this.judged = new OffsetSet(MAX_JUDGED, saved?.judged);
    this.ahead = new Set();
    for (const [first, last] of saved?.ahead ?? []) for (let one = first; one <= last; one += 1) this.ahead.add(one);
  }

  /**
   * Whether an observation is behind one with a higher Kafka offset and the same key. A function of the last `window`
   * records of the log alone, so that reading these again after a crash is enough to go on alike.
   */
  fellBehind(logOffset: number, observation: Observation, window: number): boolean {
    if (this.side === 'live' || observation.key === null) return false;
    this.forgetKeys(logOffset - window);
    const own = ownOffset(observation);
    const last = this.#lastOfKey.get(observation.key);
    // Set anew at the end: the map stays in the order of the log.
    this.#lastOfKey.delete(observation.key);
    this.#lastOfKey.set(observation.key, { logOffset, own, kafka: observation.kafka });
    return last !== undefined && last.own < own && last.kafka > observation.kafka;
  }

  /** Forgets the order of what is before an offset of the log. */
  forgetKeys(before: number): void {
    for (const [key, { logOffset }] of this.#lastOfKey) {
      if (logOffset >= before) break;
      this.#lastOfKey.delete(key);
    }
  }
}

/** Offset on the leg that the side reads. */
export function ownOffset({ side, kafka, owlmq }: Observation): number {
  return side === 'live' ? kafka : (owlmq ?? kafka);
}
