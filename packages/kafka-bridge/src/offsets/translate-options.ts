import type { KafkaConnection } from '../kafka/kafka-connection.js';
import type { OwlmqApi } from '../owlmq/owlmq-api.js';
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

/** Ids of all unconsumed records are held: few partitions at a time. */
export const PARTITIONS_AT_ONCE = 2;
export const DEFAULT_MAX_RECORDS = 1_000_000;
export const DEFAULT_MAX_REDELIVERED_IDS = 1_000;

/**
 * Joins what is to be said of a partition. Of copies that nobody looked at nothing is known: the number of
 * redeliveries is left out then.
 */
export function finished(
  head: Pick<OffsetTranslation, 'topic' | 'partition' | 'source'>,
  target: number,
  result: Pick<OffsetTranslation, 'verdict' | 'redeliveries' | 'redeliveredIds'>,
  reason: string | undefined,
  unchecked: number,
): OffsetTranslation {
  if (unchecked === 0) return { ...head, target, ...result, ...(reason === undefined ? {} : { reason }) };
  const { redeliveredIds } = result;
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
