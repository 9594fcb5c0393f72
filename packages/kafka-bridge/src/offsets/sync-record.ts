import { z } from 'zod';
import { parseJsonRecord } from '../kafka/json-record.js';
import { partitionName } from '../message/partition-name.js';
import { offsetSyncsSchema } from './offset-syncs.js';

/** Kafka topic (compacted, one partition) of what audits have noted of positions on both legs. */
export const SYNCS_TOPIC = 'owlmq-bridge.offset-syncs';

const syncRecordSchema = z.strictObject({
  version: z.literal(1),
  topic: z.string(),
  partition: z.int().nonnegative(),
  /** Kafka's id of the topic: one that was made anew has other offsets. */
  topicId: z.string(),
  /** A record of OwlMQ by which its log is known again: one that was made anew has another message there, or none. */
  known: z.strictObject({ offset: z.int().nonnegative(), id: z.string() }).optional(),
  /** Whether messages were ever written to OwlMQ first, as far as audits know. */
  owlmqFirst: z.boolean(),
  syncs: offsetSyncsSchema,
  /** ISO 8601, for people. */
  at: z.string(),
});
/** What audits have noted of a partition. */
export type SyncRecord = z.infer<typeof syncRecordSchema>;

/** Key of the record of a partition. */
export function syncKey({ topic, partition }: Pick<SyncRecord, 'topic' | 'partition'>): string {
  return partitionName(topic, partition);
}

/** Reads a record; undefined when this version cannot. Nothing is lost by that: a translation reads more then. */
export function decodeSyncRecord(value: Buffer | null): SyncRecord | undefined {
  return parseJsonRecord(syncRecordSchema, value);
}
