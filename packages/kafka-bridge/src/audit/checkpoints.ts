import type { TopicOffsets } from '../routing/routing-state.js';
import type { ForwardCheckpoint } from './forward-audit.js';
import type { MirrorCheckpoint } from './mirror-audit.js';

/**
 * Shares the work of one forward audit between several that see to different partitions: one checkpoint for each. The
 * figures so far go to the first, so that `mergeForwardCheckpoints` counts them once.
 */
export function splitForwardCheckpoint(checkpoint: ForwardCheckpoint, parts: number): ForwardCheckpoint[] {
  return split(checkpoint, parts);
}

/** The same for a mirror audit. */
export function splitMirrorCheckpoint(checkpoint: MirrorCheckpoint, parts: number): MirrorCheckpoint[] {
  return split(checkpoint, parts);
}

/**
 * One checkpoint of those of several audits that share topics between them: of each partition the highest position, of
 * each figure the sum. Figures that several of them have from before are counted several times: see
 * `splitForwardCheckpoint`.
 */
export function mergeForwardCheckpoints(parts: readonly ForwardCheckpoint[]): ForwardCheckpoint {
  return {
    positions: highest(parts.map(({ positions }) => positions)),
    coverage: highest(parts.map(({ coverage }) => coverage)),
    figures: summed(parts.map(({ figures }) => figures)),
  };
}

/** The same of mirror audits. */
export function mergeMirrorCheckpoints(parts: readonly MirrorCheckpoint[]): MirrorCheckpoint {
  return {
    owlmq: highest(parts.map(({ owlmq }) => owlmq)),
    kafka: highest(parts.map(({ kafka }) => kafka)),
    figures: summed(parts.map(({ figures }) => figures)),
  };
}

function split<T extends { figures: object }>(checkpoint: T, parts: number): T[] {
  return Array.from({ length: parts }, (_, part) =>
    structuredClone(part === 0 ? checkpoint : { ...checkpoint, figures: {} }),
  );
}

function highest(parts: readonly TopicOffsets[]): TopicOffsets {
  const merged: TopicOffsets = {};
  for (const part of parts) {
    for (const [topic, offsets] of Object.entries(part)) {
      const known = (merged[topic] ??= []);
      for (const [partition, offset] of offsets.entries()) {
        known[partition] = Math.max(known[partition] ?? 0, offset);
      }
    }
  }
  return merged;
}

interface Figures {
  [name: string]: number | Figures;
}

function summed<T extends object>(parts: readonly Record<string, T>[]): Record<string, T> {
  const merged: Record<string, T> = {};
  for (const part of parts) {
    for (const [topic, figures] of Object.entries(part)) {
      const known = merged[topic];
      merged[topic] = known === undefined ? structuredClone(figures) : (sum(known, figures) as T);
    }
  }
  return merged;
}

function sum(one: object, other: object): Figures {
  const total: Figures = { ...(one as Figures) };
  for (const [name, value] of Object.entries(other as Figures)) {
    const known = total[name];
    if (typeof value === 'number') total[name] = value + (typeof known === 'number' ? known : 0);
    else total[name] = sum(typeof known === 'object' ? known : {}, value);
  }
  return total;
}
