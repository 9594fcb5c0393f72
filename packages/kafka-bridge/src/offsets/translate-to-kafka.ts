import { eachLimited } from '../audit/each-limited.js';
import { isKafkaAway, throwAll } from '../audit/audit-errors.js';
import { ownedPartitions } from '../audit/partitions.js';
import { lookupAll } from '../audit/owlmq-copies.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import { foreignMessageId, readProvenance } from '../message/headers.js';
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

export interface TranslateToKafkaOptions extends TranslateOptions {
  /** Kafka ends at the cutover's fence: what OwlMQ got first was copied to Kafka from there on. */
  kafkaFrom: TopicOffsets;
  /** Positions of the `MirrorAudit`: all before them is proven and needs no second look. */
  proven?: { owlmq: TopicOffsets; kafka: TopicOffsets } | undefined;
  /** The partitions to translate, by topic; all of a topic that is not named. */
  partitions?: Readonly<Record<string, readonly number[]>> | undefined;
}

/**
 * Translates the committed offsets of OwlMQ groups back to Kafka, lagging or drained, without writing anything. An
 * offset is never above the true one: neither what a group has not consumed of OwlMQ is skipped, nor what reached
 * Kafka alone.
 */
export async function translateToKafka(options: TranslateToKafkaOptions): Promise<GroupTranslation[]> {
  const { clientId = 'kafka-bridge-offsets', retryForMs } = options;
  const reader = new LogReader(options.connection, { clientId, retryForMs });
  try {
    const results: GroupTranslation[] = [];
    for (const group of options.groups) {
      const partitions: OffsetTranslation[] = [];
      for (const topic of options.topics) {
        partitions.push(...(await translateTopic(options, reader, group, topic)));
      }
      results.push({ group, partitions });
    }
    return results;
  } finally {
    await reader.close();
  }
}

async function translateTopic(
  options: TranslateToKafkaOptions,
  reader: LogReader,
  group: string,
  topic: string,
): Promise<OffsetTranslation[]> {
  const { signal } = options;
  const call = signal === undefined ? {} : { signal };
  // In this order: see the other direction.
  const commits = await options.owlmq.describeGroup(group, call);
  const kafka = await reader.bounds(topic, { signal });
  const owlmq = await options.owlmq.describeTopic(topic, call);
  const translations: OffsetTranslation[] = [];
  const own = ownedPartitions(topic, kafka.length, options.partitions);
  const wanted = kafka.filter(({ partition }) => own.includes(partition));
  const work = async (bound: PartitionBounds): Promise<void> => {
    const { partition } = bound;
    const source = commits?.offsets.find((found) => found.topic === topic && found.partition === partition)?.offset;
    const owlmqBound = owlmq?.partitions.find((found) => found.partition === partition);
    translations[partition] =
      owlmqBound === undefined || owlmq?.partitions.length !== kafka.length
        ? refused(
            { topic, partition, source },
            `OwlMQ has ${owlmq?.partitions.length ?? 0} partitions of the topic, Kafka ${kafka.length}.`,
          )
        : await translatePartition(options, reader, topic, bound, source, owlmqBound);
  };
  const errors = await eachLimited(wanted, PARTITIONS_AT_ONCE, work, isKafkaAway);
  throwAll(errors, `The translation of ${group} on ${topic}`);
  return translations.filter(({ partition }) => own.includes(partition));
}

async function translatePartition(
  options: TranslateToKafkaOptions,
  reader: LogReader,
  topic: string,
  kafka: PartitionBounds,
  source: number | undefined,
  owlmq: { beginOffset: number; endOffset: number },
): Promise<OffsetTranslation> {
  const { signal } = options;
  const { partition } = kafka;
  const limit = options.maxRecords ?? DEFAULT_MAX_RECORDS;
  const head = { topic, partition, source };
  const begin = start(source, owlmq, options.reset);
  if (!begin.ok) return refused(head, begin.reason);
  const { committed } = begin;
  if (owlmq.endOffset - committed > limit) {
    return refused(
      head,
      `the lag of ${owlmq.endOffset - committed} records is above ${limit}: let the group catch up.`,
    );
  }
  const proven = options.proven?.owlmq[topic]?.[partition] ?? owlmq.beginOffset;
  const unproven = Math.min(committed, Math.max(owlmq.beginOffset, proven));
  const checked = owlmq.endOffset - unproven > limit ? committed : unproven;

  const records = new Map<string, SourceRecord>();
  for await (const page of owlmqPages(options.owlmq, topic, partition, checked, owlmq.endOffset, signal)) {
    for (const { id, offset, headers } of page) {
      const { source: from } = readProvenance(Object.fromEntries(headers));
      const fromKafka = from?.leg === 'kafka' && from.partition === partition;
      records.set(id, { offset, id, intended: true, target: fromKafka ? from.offset : undefined });
    }
  }

  const search = new KafkaSearch(options, reader, topic, kafka, records, owlmq.endOffset);
  const refusal = await search.run(limit);
  if (refusal !== undefined) return refused(head, refusal);

  const placement = place(
    { records: [...records.values(), ...search.strays], committed, fence: Number.POSITIVE_INFINITY },
    kafka.endOffset,
  );
  if (!placement.ok) return refused(head, placement.reason);
  const { target } = placement;
  if (target < kafka.beginOffset) {
    return refused(
      head,
      `offset ${target} of Kafka is needed, and retention has passed it: the log begins at ${kafka.beginOffset}.`,
    );
  }
  if (kafka.endOffset - target > limit) {
    return refused(
      head,
      `${kafka.endOffset - target} records of Kafka would come, more than ${limit}: let the group catch up.`,
    );
  }
  const redeliveries = new Redeliveries(placement, options.maxRedeliveredIds ?? DEFAULT_MAX_REDELIVERED_IDS);
  for await (const page of kafkaPages(reader, topic, partition, target, kafka.endOffset, signal)) {
    for (const { headers, offset } of page) {
      redeliveries.next(readProvenance(headers).id ?? foreignMessageId(topic, partition, offset));
    }
  }
  return finished(head, target, redeliveries.result, begin.reason, checked - unproven);
}

const FIRST_STEP_BACK = 10_000;

/**
 * Finds the Kafka copies of OwlMQ records by their ids, and the records that Kafka alone has. Copies are near the end,
 * in about OwlMQ's order: the search goes back from there as far as it must, not over all of the time since cutover.
 */
class KafkaSearch {
  /** Records that OwlMQ did not have below its end: no group has consumed them. */
  readonly strays: SourceRecord[] = [];
  /** Ids of records whose copy was not found yet. */
  readonly #wanted: Set<string>;

  constructor(
    readonly options: TranslateToKafkaOptions,
    readonly reader: LogReader,
    readonly topic: string,
    readonly kafka: PartitionBounds,
    readonly records: ReadonlyMap<string, SourceRecord>,
    readonly owlmqEnd: number,
  ) {
    this.#wanted = new Set([...records.values()].filter(({ target }) => target === undefined).map(({ id }) => id));
  }

  /** Fills in the records' targets. Returns why it could not, when it would have to read more than the limit. */
  async run(limit: number): Promise<string | undefined> {
    const { partition, beginOffset } = this.kafka;
    const fence = this.options.kafkaFrom[this.topic]?.[partition];
    if (fence === undefined) return 'the Kafka offset of the cutover is not known for this partition.';
    const floor = Math.max(beginOffset, fence);
    const proven = this.options.proven?.kafka[this.topic]?.[partition] ?? floor;
    // Copies of the last records may have arrived since the end was looked up.
    const end =
      (await this.reader.ends(this.topic, { signal: this.options.signal }))[partition] ?? this.kafka.endOffset;
    let low = Math.min(end, Math.max(floor, proven));
    let step = FIRST_STEP_BACK;
    if (end - low > limit) {
      return `${end - low} records of Kafka would have to be looked at, more than ${limit}: run the audit first.`;
    }
    await this.#scan(low, end, true);
    while (this.#wanted.size > 0 && low > floor) {
      const next = Math.max(floor, low - step);
      if (end - next > limit) {
        return `the copies of ${this.#wanted.size} records are not among the last ${end - low} of Kafka; the search ends at ${limit}.`;
      }
      await this.#scan(next, low, false);
      low = next;
      step *= 2;
    }
    return undefined;
  }

  async #scan(from: number, to: number, forStrays: boolean): Promise<void> {
    const { topic, records } = this;
    const { partition } = this.kafka;
    const { owlmq, signal } = this.options;
    for await (const page of kafkaPages(this.reader, topic, partition, from, to, signal)) {
      const kafkaFirst: { id: string; offset: number }[] = [];
      for (const { headers, offset } of page) {
        const { id = foreignMessageId(topic, partition, offset), source } = readProvenance(headers);
        const record = records.get(id);
        if (this.#wanted.delete(id) && record !== undefined) record.target = offset;
        if (forStrays && source?.leg !== 'owlmq' && record === undefined) kafkaFirst.push({ id, offset });
      }
      const places = await lookupAll(
        owlmq,
        topic,
        kafkaFirst.map(({ id }) => id),
        signal,
      );
      for (const { id, offset } of kafkaFirst) {
        if ((places.get(id)?.offset ?? this.owlmqEnd) < this.owlmqEnd) continue;
        // Behind every commit.
        this.strays.push({ offset: Number.MAX_SAFE_INTEGER, id, intended: true, target: offset });
      }
    }
  }
}
