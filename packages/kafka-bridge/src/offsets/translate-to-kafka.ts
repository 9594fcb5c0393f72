import { setTimeout as sleep } from 'node:timers/promises';
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
import type { GroupOffset, OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { kafkaPages, owlmqPages } from './log-pages.js';
import type { OffsetSyncs } from './offset-syncs.js';
import { readOffsetSyncs } from './sync-log.js';
import {
  byGroup,
  commitLookup,
  DEFAULT_GRACE_MS,
  DEFAULT_MAX_RECORDS,
  DEFAULT_MAX_REDELIVERED_IDS,
  finished,
  GROUPS_AT_ONCE,
  PARTITIONS_AT_ONCE,
  partitionCountsDiffer,
  refused,
  signalOf,
  type CommitLookup,
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
 * Kafka alone. What is read of a partition is read once for all groups.
 */
export async function translateToKafka(options: TranslateToKafkaOptions): Promise<GroupTranslation[]> {
  const { clientId = 'kafka-bridge-offsets', retryForMs, groups, topics } = options;
  const reader = new LogReader(options.connection, { clientId, retryForMs });
  try {
    // In this order: see the other direction.
    const commits = await commitsOf(options);
    const syncs = options.syncs ?? (await readOffsetSyncs(reader, options.owlmq, topics, { signal: options.signal }));
    const work: PartitionWork[] = [];
    for (const topic of topics) {
      const kafka = await reader.bounds(topic, { signal: options.signal });
      const owlmq = await options.owlmq.describeTopic(topic, signalOf(options.signal));
      const graceEnd = performance.now() + (options.graceMs ?? DEFAULT_GRACE_MS);
      for (const partition of ownedPartitions(topic, kafka.length, options.partitions)) {
        const [bound, owlmqBound] = [
          kafka[partition],
          owlmq?.partitions.find((found) => found.partition === partition),
        ];
        if (bound === undefined) continue;
        const isAlike = owlmq?.partitions.length === kafka.length;
        const unlike = partitionCountsDiffer(owlmq?.partitions.length, kafka.length);
        const known = syncs[topic]?.[partition];
        work.push({ topic, kafka: bound, owlmq: isAlike ? owlmqBound : undefined, unlike, syncs: known, graceEnd });
      }
    }
    const translated: (OffsetTranslation & { group: string })[] = [];
    let done = 0;
    const translate = async (one: PartitionWork): Promise<void> => {
      const { topic, kafka, owlmq } = one;
      const { partition } = kafka;
      const sources = groups.map((group) => commits(group, topic, partition));
      const of =
        owlmq === undefined
          ? undefined
          : await translatePartition(options, reader, { ...one, owlmq }, new Set(sources));
      for (const [index, group] of groups.entries()) {
        const source = sources[index];
        translated.push({ group, ...(of?.get(source) ?? refused({ topic, partition, source }, one.unlike)) });
      }
      options.onProgress?.({ done: ++done, of: work.length });
    };
    throwAll(await eachLimited(work, PARTITIONS_AT_ONCE, translate, isKafkaAway), 'The translation to Kafka');
    return byGroup(groups, topics, translated);
  } finally {
    await reader.close();
  }
}

/** A partition that is to be translated. */
interface PartitionWork {
  topic: string;
  kafka: PartitionBounds;
  /** Undefined when OwlMQ does not have the topic's partitions. */
  owlmq: { beginOffset: number; endOffset: number } | undefined;
  /** Says so. */
  unlike: string;
  syncs: OffsetSyncs | undefined;
  /** When a copy that is not there is missing, on the monotonic clock. */
  graceEnd: number;
}

async function commitsOf(options: TranslateToKafkaOptions): Promise<CommitLookup> {
  const commits: [string, readonly GroupOffset[]][] = [];
  const errors = await eachLimited(options.groups, GROUPS_AT_ONCE, async (group) => {
    commits.push([group, (await options.owlmq.describeGroup(group, signalOf(options.signal)))?.offsets ?? []]);
  });
  throwAll(errors, 'The look-up of committed offsets');
  return commitLookup(commits);
}

/** Translates the positions that groups have in one partition. */
async function translatePartition(
  options: TranslateToKafkaOptions,
  reader: LogReader,
  { topic, kafka, owlmq, syncs, graceEnd }: PartitionWork & { owlmq: { beginOffset: number; endOffset: number } },
  sources: ReadonlySet<number | undefined>,
): Promise<Map<number | undefined, OffsetTranslation>> {
  const { signal, reset } = options;
  const { partition } = kafka;
  const limit = options.maxRecords ?? DEFAULT_MAX_RECORDS;
  const proven = options.proven?.owlmq[topic]?.[partition] ?? syncs?.owlmqToKafka.at(-1)?.[0] ?? 0;
  const translations = new Map<number | undefined, OffsetTranslation>();
  const starts: GroupStart[] = [];
  for (const source of sources) {
    const head = { topic, partition, source };
    const begin = start(source, owlmq, reset);
    if (!begin.ok) {
      translations.set(source, refused(head, begin.reason));
    } else if (owlmq.endOffset - begin.committed > limit) {
      const lag = owlmq.endOffset - begin.committed;
      translations.set(source, refused(head, `the lag of ${lag} records is above ${limit}: let the group catch up.`));
    } else {
      const { committed, reason } = begin;
      const unproven = Math.min(committed, Math.max(owlmq.beginOffset, proven));
      const checked = owlmq.endOffset - unproven > limit ? committed : unproven;
      starts.push({ head, committed, reason, checked, unchecked: checked - unproven });
    }
  }
  if (starts.length === 0) return translations;

  const records = new Map<string, ToPlace>();
  const named = new NamedSources(reader, topic, kafka, signal);
  const from = starts.reduce((low, { checked }) => Math.min(low, checked), owlmq.endOffset);
  for await (const page of owlmqPages(options.owlmq, topic, partition, from, owlmq.endOffset, signal)) {
    const read = page.records.map((record): ToPlace => {
      const { id, offset, timestamp } = record;
      return { id, offset, timestamp, bytes: payloadBytes(record), intended: true, target: undefined };
    });
    for (const record of read) records.set(record.id, record);
    await named.place(read, page.records);
  }
  const search = new KafkaSearch(options, reader, topic, kafka, records, owlmq.endOffset, syncs);
  const refusal = await search.run(limit);
  for (const [record, offset] of named.taken) record.target ??= offset;
  const lowestCommit = Math.min(...starts.map(({ committed }) => committed));
  if (refusal === undefined) await search.waitForCopies(lowestCommit, graceEnd);

  const placed: (GroupStart & { target: number; redeliveries: Redeliveries })[] = [];
  for (const one of starts) {
    const { head, committed, checked } = one;
    const log = [...records.values()].filter(({ offset }) => offset >= checked);
    const placement = place(
      { records: [...log, ...search.strays], committed, fence: Number.POSITIVE_INFINITY },
      kafka.endOffset,
    );
    const problem = refusal ?? (placement.ok ? outOfReach(placement.target, kafka, limit) : placement.reason);
    if (problem !== undefined || !placement.ok) {
      translations.set(head.source, refused(head, problem ?? ''));
      continue;
    }
    const redeliveries = new Redeliveries(placement, options.maxRedeliveredIds ?? DEFAULT_MAX_REDELIVERED_IDS);
    placed.push({ ...one, target: placement.target, redeliveries });
  }
  const lowest = placed.reduce((low, { target }) => Math.min(low, target), kafka.endOffset);
  for await (const page of kafkaPages(reader, topic, partition, lowest, kafka.endOffset, signal)) {
    for (const { headers, offset } of page.records) {
      const id = readProvenance(headers).id ?? foreignMessageId(topic, partition, offset);
      for (const { target, redeliveries } of placed) if (offset >= target) redeliveries.next(id);
    }
  }
  for (const { head, target, redeliveries, reason, unchecked } of placed) {
    translations.set(head.source, finished(head, target, redeliveries.result, reason, unchecked));
  }
  return translations;
}

/** Where groups are in a partition, and from where on their records are looked at. */
interface GroupStart {
  head: { topic: string; partition: number; source: number | undefined };
  committed: number;
  /** What was decided for the lack of a commit. */
  reason: string | undefined;
  checked: number;
  /** Consumed records that are not looked at. */
  unchecked: number;
}

function outOfReach(target: number, { beginOffset, endOffset }: PartitionBounds, limit: number): string | undefined {
  if (target < beginOffset) {
    return `offset ${target} of Kafka is needed, and retention has passed it: the log begins at ${beginOffset}.`;
  }
  if (endOffset - target > limit) {
    return `${endOffset - target} records of Kafka would come, more than ${limit}: let the group catch up.`;
  }
  return undefined;
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
const POLL_MS = 100;

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
  /** Up to where Kafka was searched. */
  #end = 0;

  constructor(
    readonly options: TranslateToKafkaOptions,
    readonly reader: LogReader,
    readonly topic: string,
    readonly kafka: PartitionBounds,
    readonly records: ReadonlyMap<string, ToPlace>,
    readonly owlmqEnd: number,
    readonly syncs: OffsetSyncs | undefined,
  ) {
    this.#wanted = new Set([...records.values()].filter(({ target }) => target === undefined).map(({ id }) => id));
    this.#copies = new CopyFinder(options.owlmq, topic, kafka.partition);
  }

  /** Looks again for copies of records from an offset of OwlMQ on, since those of the newest may be under way. */
  async waitForCopies(from: number, graceEnd: number): Promise<void> {
    const { signal } = this.options;
    const unconsumed = [...this.records.values()].filter(({ offset }) => offset >= from);
    const isOpen = (): boolean => unconsumed.some(({ target }) => target === undefined);
    while (isOpen() && performance.now() < graceEnd) {
      await sleep(POLL_MS, undefined, signalOf(signal));
      const end = (await this.reader.ends(this.topic, { signal }))[this.kafka.partition] ?? this.#end;
      await this.#scan(this.#end, end, false);
      this.#end = end;
    }
  }

  /** Fills in the records' targets. Returns why it could not, when it would have to read more than the limit. */
  async run(limit: number): Promise<string | undefined> {
    const { partition, beginOffset } = this.kafka;
    const fence = this.options.kafkaFrom[this.topic]?.[partition];
    if (fence === undefined) return 'the Kafka offset of the cutover is not known for this partition.';
    const floor = Math.max(beginOffset, fence);
    // What was never copied is in Kafka alone: then all of it is looked at.
    const noted = floor >= (this.syncs?.coveredFrom ?? 0) ? this.syncs?.kafkaToOwlmq.at(-1)?.[0] : undefined;
    const proven = this.options.proven?.kafka[this.topic]?.[partition] ?? noted ?? floor;
    // Copies of the last records may have arrived since the end was looked up.
    const end =
      (await this.reader.ends(this.topic, { signal: this.options.signal }))[partition] ?? this.kafka.endOffset;
    this.#end = end;
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
      for (const record of page.records) {
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
