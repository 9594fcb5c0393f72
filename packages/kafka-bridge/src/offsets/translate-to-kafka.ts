import { eachLimited } from '../audit/each-limited.js';
import { isKafkaAway, throwAll } from '../audit/audit-errors.js';
import { ownedPartitions } from '../audit/partitions.js';
import { claimOf, findStrangers, type Claimant } from '../audit/claimed-copies.js';
import { CopyFinder, type Found, type Wanted } from '../audit/copy-finder.js';
import { isCopyOf, type Claim } from '../audit/mirror-window.js';
import { payloadBytes } from '../audit/owlmq-copies.js';
import { placeId, readMarks } from '../audit/record-marks.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import { foreignMessageId, readProvenance } from '../message/headers.js';
import type { OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
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

  const records = new Map<string, ToPlace>();
  const sources = new NamedSources(reader, topic, kafka, signal);
  for await (const page of owlmqPages(options.owlmq, topic, partition, checked, owlmq.endOffset, signal)) {
    const read = page.map((record): ToPlace => {
      const { id, offset, timestamp } = record;
      return { id, offset, timestamp, bytes: payloadBytes(record), intended: true, target: undefined };
    });
    for (const record of read) records.set(record.id, record);
    await sources.place(read, page);
  }

  const search = new KafkaSearch(options, reader, topic, kafka, records, owlmq.endOffset);
  const refusal = await search.run(limit);
  if (refusal !== undefined) return refused(head, refusal);
  for (const [record, named] of sources.taken) record.target ??= named;

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

/** An OwlMQ record, with what tells its message from another one under the same id. */
interface ToPlace extends SourceRecord, Claim {
  id: string;
}

/**
 * Places OwlMQ records at the Kafka records that their headers name, where those hold the same message. What names
 * another one has the headers of an old message, or false ones; it is searched for by its id.
 */
class NamedSources {
  /**
   * Those that name an offset of Kafka with nothing at it, as compaction leaves it. Where the search does not find them
   * either the header is believed, as the audits do.
   */
  readonly taken = new Map<ToPlace, number>();
  #slice: FetchedRecord[] = [];
  /** What was read of Kafka last: `#slice` has all records of it. */
  #read = { from: 0, to: 0 };

  constructor(
    readonly reader: LogReader,
    readonly topic: string,
    readonly kafka: PartitionBounds,
    readonly signal: AbortSignal | undefined,
  ) {}

  async place(records: readonly ToPlace[], page: readonly OwlmqStoredRecord[]): Promise<void> {
    const { partition, beginOffset, endOffset } = this.kafka;
    const named = records.flatMap((record, index) => {
      const { source } = readProvenance(Object.fromEntries(page[index]?.headers ?? []));
      return source?.leg === 'kafka' && source.partition === partition ? [{ record, offset: source.offset }] : [];
    });
    for (const { record, offset } of named.sort((one, other) => one.offset - other.offset)) {
      // Beyond the end that was looked up first it is too new to be trusted without a search.
      if (offset >= endOffset) continue;
      if (offset < beginOffset) {
        // Retention took it. Never too high: a place before the log is refused.
        record.target = offset;
        continue;
      }
      const found = await this.#at(offset);
      if (found === undefined) this.taken.set(record, offset);
      else if (holds(found, record)) record.target = offset;
    }
  }

  async #at(offset: number): Promise<FetchedRecord | undefined> {
    const { topic, signal } = this;
    const { partition } = this.kafka;
    if (offset < this.#read.from || offset >= this.#read.to) {
      const [slice] = await this.reader.read(topic, [{ partition, offset }], { signal });
      this.#slice = slice?.records ?? [];
      this.#read = { from: offset, to: slice?.nextOffset ?? offset };
    }
    return this.#slice.find((record) => record.offset === offset);
  }
}

/** Whether a Kafka record holds the message of an OwlMQ record: under its own id, or under its place's as a foreign one. */
function holds(record: FetchedRecord, claimed: Claim): boolean {
  const { id } = readMarks(record);
  return [id, placeId(record)].some((one) => one !== undefined && isCopyOf(claimOf(record, one), claimed));
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
  readonly #copies: CopyFinder;

  constructor(
    readonly options: TranslateToKafkaOptions,
    readonly reader: LogReader,
    readonly topic: string,
    readonly kafka: PartitionBounds,
    readonly records: ReadonlyMap<string, ToPlace>,
    readonly owlmqEnd: number,
  ) {
    this.#wanted = new Set([...records.values()].filter(({ target }) => target === undefined).map(({ id }) => id));
    this.#copies = new CopyFinder(options.owlmq, topic, kafka.partition);
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
    const { topic, owlmqEnd } = this;
    const { partition, endOffset } = this.kafka;
    const { owlmq, signal } = this.options;
    for await (const page of kafkaPages(this.reader, topic, partition, from, to, signal)) {
      const late: Claimant[] = [];
      const first: { record: FetchedRecord; id: string | undefined }[] = [];
      for (const record of page) {
        if (this.#takeCopy(record) || !forStrays) continue;
        const { id, source } = readMarks(record);
        const copyOf = source?.leg === 'owlmq' && source.partition === partition ? source.offset : undefined;
        if (id === undefined || copyOf === undefined || this.records.has(id)) first.push({ record, id });
        else if (copyOf < owlmqEnd) late.push({ record, id, copyOf });
        // No copy of a newer record lies below the end of Kafka that was looked up first.
        else if (record.offset < endOffset) first.push({ record, id });
      }
      first.push(...(await findStrangers(owlmq, topic, partition, late, signal)));
      await this.#takeStrays(first);
    }
  }

  /** Whether a Kafka record is the copy of one that is to be placed. */
  #takeCopy(record: FetchedRecord): boolean {
    for (const id of [readMarks(record).id, placeId(record)]) {
      const known = id === undefined ? undefined : this.records.get(id);
      if (known === undefined || !holds(record, known)) continue;
      if (this.#wanted.delete(known.id)) known.target = record.offset;
      return true;
    }
    return false;
  }

  /** Takes what came to Kafka first, and is not on OwlMQ below its end: under its own id, or as a foreign record. */
  async #takeStrays(first: readonly { record: FetchedRecord; id: string | undefined }[]): Promise<void> {
    const { signal } = this.options;
    const foreign: Wanted[] = [];
    const ours: Wanted[] = [];
    for (const { record, id } of first) {
      if (id === undefined) foreign.push({ record, id: placeId(record) });
      else ours.push({ record, id });
    }
    const take = (wanted: readonly Wanted[], found: ReadonlyMap<number, Found>): void => {
      for (const { record, id } of wanted) {
        const { partition, offset } = found.get(record.offset) ?? {};
        if (partition === this.kafka.partition && offset !== undefined && offset < this.owlmqEnd) continue;
        // Behind every commit.
        this.strays.push({ offset: Number.MAX_SAFE_INTEGER, id, intended: true, target: record.offset });
      }
    };
    const found = await this.#copies.lookUp(ours, signal);
    const isOther = ({ record }: Wanted): boolean => found.get(record.offset)?.as === 'other';
    take(
      ours.filter((one) => !isOther(one)),
      found,
    );
    for (const { record } of ours.filter(isOther)) foreign.push({ record, id: placeId(record) });
    take(foreign, await this.#copies.lookUp(foreign, signal));
  }
}
