import type { TopicOffsets } from '@owlmq/kafka-bridge/operations';
import type { AuditFigures, GroupPosition, Partitions } from '../activities/migration-activities.js';
import { addFigures, noAuditFigures } from './audit-figures.js';

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
  /** Why a rollback was not possible at the end of its last run, while warm. */
  rollbackBlockers?: string[];
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
