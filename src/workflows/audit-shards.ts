import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { AuditFigures, GroupPosition, Partitions } from '../activities/migration-activities.js';

/** Where the part of an audit that one activity does stands. JSON-safe. */
export interface AuditShard {
  /** Absent before its first run. */
  checkpoint?: unknown;
  /** Cumulative over its checkpoints. */
  figures: AuditFigures;
  /** What it passed in its last run, a second. */
  rate?: LegRates;
  /** ISO time of the last translation of group positions on its partitions, while warm. */
  positionsAt?: string;
}

/** Messages and bytes a second on each leg. */
export interface LegRates {
  kafkaMessages: number;
  kafkaBytes: number;
  owlmqMessages: number;
  owlmqBytes: number;
}

/**
 * Shares partitions between the activities of an audit: always the same ones for the same counts. With one activity,
 * or as long as the counts are not known, there is one part, undefined, which is all of them.
 */
export function partitionShards(
  counts: Readonly<Record<string, number>>,
  parallelism: number,
): (Partitions | undefined)[] {
  const topics = Object.keys(counts).sort();
  const all = topics.flatMap((topic) =>
    Array.from({ length: counts[topic] ?? 0 }, (_, partition) => ({ topic, partition })),
  );
  const parts = Math.min(parallelism, all.length);
  if (parts <= 1) return [undefined];
  return Array.from({ length: parts }, (_, part) => {
    const own: Partitions = Object.fromEntries(topics.map((topic) => [topic, []]));
    for (const [index, { topic, partition }] of all.entries()) {
      if (index % parts === part) own[topic]?.push(partition);
    }
    return own;
  });
}

/** Of an audit that has seen nothing. */
export const noAuditFigures: AuditFigures = {
  kafkaMessages: 0,
  kafkaBytes: 0,
  owlmqMessages: 0,
  owlmqBytes: 0,
  missing: 0,
  repaired: 0,
  inversions: 0,
  foreign: {},
  forwarded: {},
};

export function addFigures(one: AuditFigures, other: AuditFigures): AuditFigures {
  return combine(one, other, 1);
}

/** What was counted between two looks at the same audit. */
export function figuresSince(now: AuditFigures, before: AuditFigures): AuditFigures {
  return combine(now, before, -1);
}

function combine(one: AuditFigures, other: AuditFigures, sign: 1 | -1): AuditFigures {
  return {
    kafkaMessages: one.kafkaMessages + sign * other.kafkaMessages,
    kafkaBytes: one.kafkaBytes + sign * other.kafkaBytes,
    owlmqMessages: one.owlmqMessages + sign * other.owlmqMessages,
    owlmqBytes: one.owlmqBytes + sign * other.owlmqBytes,
    missing: one.missing + sign * other.missing,
    repaired: one.repaired + sign * other.repaired,
    inversions: one.inversions + sign * other.inversions,
    foreign: byTopic(one.foreign, other.foreign, sign),
    forwarded: byTopic(one.forwarded, other.forwarded, sign),
  };
}

function byTopic(one: Record<string, number>, other: Record<string, number>, sign: 1 | -1): Record<string, number> {
  const topics = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  return Object.fromEntries(topics.map((topic) => [topic, (one[topic] ?? 0) + sign * (other[topic] ?? 0)]));
}

/** Figures of all shards together. */
export function totalFigures(shards: readonly AuditShard[]): AuditFigures {
  return shards.reduce((sum, { figures }) => addFigures(sum, figures), noAuditFigures);
}

export function totalRates(shards: readonly AuditShard[]): LegRates {
  const total: LegRates = { kafkaMessages: 0, kafkaBytes: 0, owlmqMessages: 0, owlmqBytes: 0 };
  for (const { rate } of shards) {
    if (rate === undefined) continue;
    for (const name of Object.keys(total) as (keyof LegRates)[]) total[name] += rate[name];
  }
  return total;
}

/** What an audit passed a second, to a tenth. */
export function ratesOf(during: AuditFigures, elapsedMs: number): LegRates {
  const perSecond = (amount: number): number => Math.round((amount * 10_000) / Math.max(1, elapsedMs)) / 10;
  return {
    kafkaMessages: perSecond(during.kafkaMessages),
    kafkaBytes: perSecond(during.kafkaBytes),
    owlmqMessages: perSecond(during.owlmqMessages),
    owlmqBytes: perSecond(during.owlmqBytes),
  };
}

/** Puts positions of single partitions into those of all. */
export function mergePositions(
  known: Readonly<Record<string, TopicOffsets>>,
  positions: readonly GroupPosition[],
): Record<string, TopicOffsets> {
  const merged: Record<string, TopicOffsets> = {};
  for (const [group, topics] of Object.entries(known)) {
    merged[group] = Object.fromEntries(Object.entries(topics).map(([topic, offsets]) => [topic, [...offsets]]));
  }
  for (const { group, topic, partition, offset } of positions) {
    ((merged[group] ??= {})[topic] ??= [])[partition] = offset;
  }
  return merged;
}
