import { eachLimited } from '../audit/each-limited.js';
import { isKafkaAway, throwAll } from '../audit/audit-errors.js';
import { CopyFinder } from '../audit/copy-finder.js';
import { placeId, readMarks } from '../audit/record-marks.js';
import { ClusterAdmin } from '../kafka/cluster-admin.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { kafkaPages, owlmqPages } from './log-pages.js';
import {
  DEFAULT_MAX_RECORDS,
  DEFAULT_MAX_REDELIVERED_IDS,
  finished,
  PARTITIONS_AT_ONCE,
  refused,
  type GroupTranslation,
  type TranslateOptions,
} from './translate-options.js';
import { place, Redeliveries, start, type OffsetTranslation, type SourceRecord } from './translation.js';

export interface TranslateToOwlmqOptions extends TranslateOptions {
  /** The fence's offsets: records from there on may lack their copy on OwlMQ. Without it every record must have it. */
  until?: TopicOffsets | undefined;
  /** Positions of the `ForwardAudit`: all before them is proven and needs no second look. */
  proven?: TopicOffsets | undefined;
}

/**
 * Translates the committed offsets of Kafka groups to OwlMQ, lagging or drained, without writing anything. An offset
 * is never above the true one: what a group has not consumed is not skipped.
 */
export async function translateToOwlmq(options: TranslateToOwlmqOptions): Promise<GroupTranslation[]> {
  const { clientId = 'kafka-bridge-offsets', retryForMs } = options;
  const admin = new ClusterAdmin(options.connection, { clientId });
  const reader = new LogReader(options.connection, { clientId, retryForMs });
  try {
    const results: GroupTranslation[] = [];
    for (const group of options.groups) {
      const partitions: OffsetTranslation[] = [];
      for (const topic of options.topics) {
        partitions.push(...(await translateTopic(options, admin, reader, group, topic)));
      }
      results.push({ group, partitions });
    }
    return results;
  } finally {
    await Promise.all([admin.close(), reader.close()]);
  }
}

async function translateTopic(
  options: TranslateToOwlmqOptions,
  admin: ClusterAdmin,
  reader: LogReader,
  group: string,
  topic: string,
): Promise<OffsetTranslation[]> {
  const count = await reader.partitionCount(topic, { signal: options.signal });
  // In this order: what is consumed meanwhile comes again at worst, and every record that OwlMQ has below its end is
  // below Kafka's end, which is looked up later. The other way round a message could be skipped.
  const commits = (await admin.groupOffsets(group, { [topic]: count }))[topic] ?? [];
  const owlmq = await options.owlmq.describeTopic(topic, signalOf(options));
  const bounds = await reader.bounds(topic, { signal: options.signal });
  const translations: OffsetTranslation[] = [];
  const work = async (bound: PartitionBounds): Promise<void> => {
    const { partition } = bound;
    const committed = commits[partition];
    const owlmqEnd = owlmq?.partitions.find((found) => found.partition === partition)?.endOffset;
    translations[partition] =
      owlmqEnd === undefined || owlmq?.partitions.length !== count
        ? refused(
            { topic, partition, source: committed },
            `OwlMQ has ${owlmq?.partitions.length ?? 0} partitions of the topic, Kafka ${count}.`,
          )
        : await translatePartition(options, reader, topic, bound, committed, owlmqEnd);
  };
  const errors = await eachLimited(bounds, PARTITIONS_AT_ONCE, work, isKafkaAway);
  throwAll(errors, `The translation of ${group} on ${topic}`);
  return translations;
}

async function translatePartition(
  options: TranslateToOwlmqOptions,
  reader: LogReader,
  topic: string,
  { partition, beginOffset, endOffset }: PartitionBounds,
  source: number | undefined,
  owlmqEnd: number,
): Promise<OffsetTranslation> {
  const { signal } = options;
  const limit = options.maxRecords ?? DEFAULT_MAX_RECORDS;
  const head = { topic, partition, source };
  const begin = start(source, { beginOffset, endOffset }, options.reset);
  if (!begin.ok) return refused(head, begin.reason);
  const { committed } = begin;
  if (endOffset - committed > limit) {
    return refused(head, `the lag of ${endOffset - committed} records is above ${limit}: let the group catch up.`);
  }
  // Consumed records whose copy is still to come would come again.
  const unproven = Math.min(committed, Math.max(beginOffset, options.proven?.[topic]?.[partition] ?? beginOffset));
  const checked = endOffset - unproven > limit ? committed : unproven;

  const records: SourceRecord[] = [];
  const copies = new CopyFinder(options.owlmq, topic, partition);
  for await (const page of kafkaPages(reader, topic, partition, checked, endOffset, signal)) {
    const read = page.map((record) => ({ record, ...identify(record) }));
    const found = await copies.find(read, signal);
    const borrowed = read.filter(({ record }) => found.get(record.offset)?.as === 'other');
    for (const one of borrowed) Object.assign(one, { id: placeId(one.record), intended: false });
    for (const { record } of borrowed) found.delete(record.offset);
    for (const [offset, copy] of await copies.find(borrowed, signal)) found.set(offset, copy);
    for (const { record, id, intended } of read) {
      const copy = found.get(record.offset);
      if (copy !== undefined && copy.partition !== partition) {
        return refused(head, `the copy of offset ${record.offset} is in partition ${copy.partition} of OwlMQ.`);
      }
      records.push({ offset: record.offset, id, intended, target: copy?.offset });
    }
    copies.pass((page.at(-1)?.offset ?? -1) + 1);
  }
  const placement = place(
    { records, committed, fence: options.until?.[topic]?.[partition] ?? Number.POSITIVE_INFINITY },
    owlmqEnd,
  );
  if (!placement.ok) return refused(head, placement.reason);
  const { target } = placement;
  if (owlmqEnd - target > limit) {
    return refused(
      head,
      `${owlmqEnd - target} records of OwlMQ would come, more than ${limit}: let the group catch up.`,
    );
  }
  const redeliveries = new Redeliveries(placement, options.maxRedeliveredIds ?? DEFAULT_MAX_REDELIVERED_IDS);
  for await (const page of owlmqPages(options.owlmq, topic, partition, target, owlmqEnd, signal)) {
    for (const { id } of page) redeliveries.next(id);
  }
  return finished(head, target, redeliveries.result, begin.reason, checked - unproven);
}

/** The id that a record's copy has, and whether its publisher meant to copy it. */
function identify(record: FetchedRecord): { id: string; intended: boolean } {
  const { id, copied } = readMarks(record);
  return { id: id ?? placeId(record), intended: id !== undefined && copied };
}

function signalOf({ signal }: TranslateOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
