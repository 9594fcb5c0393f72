import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { partitionName } from '../message/partition-name.js';
import type { GroupOffset, OwlmqApi } from '../owlmq/owlmq-api.js';
import type { OffsetSyncs } from './offset-syncs.js';
import type { OffsetReset, OffsetTranslation } from './translation.js';

/** What translations of both directions need. */
export interface TranslateOptions {
  connection: KafkaConnection;
  owlmq: OwlmqApi;
  groups: readonly string[];
  topics: readonly string[];
  /** Where groups begin on partitions where they have no commit. Without it such a partition is refused. */
  reset?: OffsetReset | undefined;
  /** Most records that are read of one partition of either leg (default 1,000,000); beyond it is refused. */
  maxRecords?: number;
  /** Most redelivered ids that are listed of a partition (default 1,000). */
  maxRedeliveredIds?: number;
  /**
   * For how long the copy of an unconsumed message may still be under way before it is missing, ms (default 5 s), from
   * when the ends of the logs are looked up.
   */
  graceMs?: number | undefined;
  /** What audits have noted of the partitions, by topic and partition (default: what `readOffsetSyncs` reads). */
  syncs?: Readonly<Record<string, readonly (OffsetSyncs | undefined)[]>> | undefined;
  /** Told how many partitions are translated, of how many. */
  onProgress?: ((progress: { done: number; of: number }) => void) | undefined;
  clientId?: string;
  /** For how long it waits for a Kafka that does not answer, ms (default 30 s). */
  retryForMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The translated offsets of one group, one entry a partition. */
export interface GroupTranslation {
  group: string;
  partitions: OffsetTranslation[];
}

/** Records around the positions are held: few partitions at a time. */
export const PARTITIONS_AT_ONCE = 4;
export const GROUPS_AT_ONCE = 8;
export const DEFAULT_GRACE_MS = 5_000;
export const DEFAULT_MAX_RECORDS = 1_000_000;
export const DEFAULT_MAX_REDELIVERED_IDS = 1_000;

/**
 * Joins what is to be said of a partition. Of copies that nobody looked at nothing is known: the number of
 * redeliveries is left out then.
 */
export function finished(
  head: Pick<OffsetTranslation, 'topic' | 'partition' | 'source'>,
  target: number,
  result: Partial<Pick<OffsetTranslation, 'verdict' | 'redeliveries' | 'redeliveredIds'>>,
  reason: string | undefined,
  unchecked: number,
): OffsetTranslation {
  const { verdict, redeliveries, redeliveredIds } = result;
  if (unchecked === 0 && verdict !== undefined && redeliveries !== undefined) {
    const listed = redeliveredIds === undefined ? {} : { redeliveredIds };
    return { ...head, target, verdict, redeliveries, ...listed, ...(reason === undefined ? {} : { reason }) };
  }
  const unknown = `the copies of ${unchecked} consumed records were not checked: those that arrive late come again`;
  return {
    ...head,
    target,
    verdict: 'bounded',
    ...(redeliveredIds === undefined ? {} : { redeliveredIds }),
    reason: reason === undefined ? unknown : `${reason}; ${unknown}`,
  };
}

/** A refusal of a partition. */
export function refused(
  head: Pick<OffsetTranslation, 'topic' | 'partition' | 'source'>,
  reason: string,
): OffsetTranslation {
  return { ...head, verdict: 'refused', reason };
}

/** The committed offset of a group on a partition; undefined when there is none. */
export type CommitLookup = (group: string, topic: string, partition: number) => number | undefined;

export function commitLookup(groups: readonly (readonly [string, readonly GroupOffset[]])[]): CommitLookup {
  const commits = new Map(groups.map(([group, offsets]) => [group, offsetLookup(offsets)]));
  return (group, topic, partition) => commits.get(group)?.(topic, partition);
}

/** The offset on a partition; undefined when there is none. */
export function offsetLookup(
  offsets: readonly GroupOffset[],
): (topic: string, partition: number) => number | undefined {
  const places = new Map(offsets.map(({ topic, partition, offset }) => [partitionName(topic, partition), offset]));
  return (topic, partition) => places.get(partitionName(topic, partition));
}

/** Why nothing is translated where the legs have other partitions: keys are elsewhere then. */
export function partitionCountsDiffer(owlmq: number | undefined, kafka: number): string {
  return owlmq === undefined
    ? 'OwlMQ does not have the topic: it was never copied there.'
    : `partition counts differ: OwlMQ has ${owlmq} of the topic, Kafka ${kafka}.`;
}

/** Puts partitions that were translated in any order into that of the groups, topics and partitions. */
export function byGroup(
  groups: readonly string[],
  topics: readonly string[],
  translated: readonly (OffsetTranslation & { group: string })[],
): GroupTranslation[] {
  const rank = new Map(topics.map((topic, index) => [topic, index]));
  const partitions = new Map<string, OffsetTranslation[]>(groups.map((group) => [group, []]));
  for (const { group, ...translation } of translated) partitions.get(group)?.push(translation);
  for (const of of partitions.values()) {
    of.sort((a, b) => (rank.get(a.topic) ?? 0) - (rank.get(b.topic) ?? 0) || a.partition - b.partition);
  }
  return groups.map((group) => ({ group, partitions: partitions.get(group) ?? [] }));
}

export function signalOf(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
