import { z } from 'zod';

/**
 * What is known of how both logs of a partition lie to one another, without reading them again. An audit that has read
 * them notes it; a translation then looks at the records around a group's position alone. The idea of pairs of offsets
 * is MirrorMaker 2's (KIP-382); here a pair is no guess between two points, but a bound that holds for every record.
 */
export interface OffsetSyncs {
  /** `[o, k]`: whatever OwlMQ has below o, Kafka has below k. */
  owlmqToKafka: Sync[];
  /** `[k, o]`: whatever has or will have a copy of Kafka below k, has it on OwlMQ below o. */
  kafkaToOwlmq: Sync[];
  /** Kafka offset from which on every record, up to the last k, has its copy. */
  coveredFrom: number;
}

/** An offset of one leg, and one of the other: the messages below the first are among those below the second. */
export type Sync = [below: number, within: number];

const sync = z.tuple([z.int().nonnegative(), z.int().nonnegative()]);

/** Of syncs as JSON. */
export const offsetSyncsSchema = z.strictObject({
  owlmqToKafka: z.array(sync),
  kafkaToOwlmq: z.array(sync),
  coveredFrom: z.int().nonnegative(),
});

/**
 * Most syncs that are kept of a partition and direction. They are thinned evenly on the scale of their distance from the
 * newest, so that the gap in which a group lies is a share of its lag: about a fifth at most.
 */
const MAX_SYNCS = 64;

/** Adds a sync to others of its direction: rising on both sides, without those that say less than another one. */
export function withSync(syncs: readonly Sync[], added: Sync, max = MAX_SYNCS): Sync[] {
  const saysMore = (one: Sync, other: Sync): boolean => one[0] >= other[0] && one[1] <= other[1];
  if (added[0] === 0 || syncs.some((known) => saysMore(known, added))) return [...syncs];
  const kept = [...syncs.filter((known) => !saysMore(added, known)), added].sort((one, other) => one[0] - other[0]);
  while (kept.length > max) kept.splice(leastMissed(kept), 1);
  return kept;
}

/**
 * Source offset from which on no message lies below an offset of the target leg; undefined when that is not known.
 *
 * @param syncs from the target leg to the source.
 */
export function nothingBelowFrom(syncs: readonly Sync[], target: number): number | undefined {
  return syncs.find(([below]) => below >= target)?.[1];
}

/**
 * Source offset below which every message lies below an offset of the target leg; undefined when that is not known.
 *
 * @param syncs from the source leg to the target.
 */
export function allBelowUpTo(syncs: readonly Sync[], target: number): number | undefined {
  return syncs.findLast(([, within]) => within <= target)?.[0];
}

/** Index of the sync whose neighbours are nearest to one another, by their distance from the last. */
function leastMissed(syncs: readonly Sync[]): number {
  const last = syncs.at(-1)?.[0] ?? 0;
  let found = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let index = 0; index < syncs.length - 1; index++) {
    const before = syncs[index - 1]?.[0] ?? 0;
    const after = syncs[index + 1]?.[0] ?? last;
    const gap = (after - before) / (last - before + 1);
    if (gap < least) [found, least] = [index, gap];
  }
  return found;
}
