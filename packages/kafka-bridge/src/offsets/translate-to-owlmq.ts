import { setTimeout as sleep } from 'node:timers/promises';
import { eachLimited } from '../audit/each-limited.js';
import { isKafkaAway, throwAll } from '../audit/audit-errors.js';
import { CopyFinder, type Wanted } from '../audit/copy-finder.js';
import { placeId, readMarks } from '../audit/record-marks.js';
import { ClusterAdmin } from '../kafka/cluster-admin.js';
import { LogReader, type PartitionBounds } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { kafkaPages, owlmqHeads } from './log-pages.js';
import { allBelowUpTo, nothingBelowFrom, type OffsetSyncs } from './offset-syncs.js';
import { ReadRanges, type LogPage } from './read-ranges.js';
import { readOffsetSyncs } from './sync-log.js';
import {
  byGroup,
  commitLookup,
  DEFAULT_GRACE_MS,
  DEFAULT_MAX_RECORDS,
  DEFAULT_MAX_REDELIVERED_IDS,
  finished,
  PARTITIONS_AT_ONCE,
  partitionCountsDiffer,
  refused,
  signalOf,
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
 *
 * What is read of a partition is read once for all groups. Where the audit has left offset syncs, that is what lies
 * between two of them around each group's position, and what the audit has not proven yet; elsewhere it is all from the
 * lowest position to the end, and what was consumed before it.
 */
export async function translateToOwlmq(options: TranslateToOwlmqOptions): Promise<GroupTranslation[]> {
  const { clientId = 'kafka-bridge-offsets', retryForMs, groups, topics } = options;
  const admin = new ClusterAdmin(options.connection, { clientId });
  const reader = new LogReader(options.connection, { clientId, retryForMs });
  try {
    const counts: Record<string, number> = {};
    for (const topic of topics) counts[topic] = await reader.partitionCount(topic, { signal: options.signal });
    // In this order: what is consumed meanwhile comes again at worst, and every record that OwlMQ has below its end is
    // below Kafka's end, which is looked up later. The other way round a message could be skipped. So it could by the
    // last stable offset: what lies behind an open transaction is copied before it can be read.
    const commits = await admin.committedOffsets(groups, counts);
    const sourceOf = commitLookup([...commits].map(([group, { offsets }]) => [group, offsets]));
    const syncs = options.syncs ?? (await readOffsetSyncs(reader, options.owlmq, topics, { signal: options.signal }));
    const work: PartitionWork[] = [];
    const { graceMs = DEFAULT_GRACE_MS } = options;
    const endedBy = performance.now() + graceMs;
    for (const topic of topics) {
      const owlmq = await options.owlmq.describeTopic(topic, signalOf(options.signal));
      const written = await reader.highWatermarks(topic, { signal: options.signal });
      const bounds = await boundsUpTo(written, reader, topic, endedBy, options.signal);
      const graceEnd = performance.now() + graceMs;
      for (const bound of bounds) {
        const { partition } = bound;
        const isHidden = bound.endOffset < (written[partition] ?? 0);
        const isAlike = owlmq?.partitions.length === bounds.length;
        const found = owlmq?.partitions.find((one) => one.partition === partition);
        const owlmqEnd = isAlike && !isHidden ? found?.endOffset : undefined;
        const refusal = isAlike ? HIDDEN : partitionCountsDiffer(owlmq?.partitions.length, bounds.length);
        work.push({ topic, bound, owlmqEnd, refusal, syncs: syncs[topic]?.[partition], graceEnd });
      }
    }
    const translated: (OffsetTranslation & { group: string })[] = [];
    let done = 0;
    const translate = async (one: PartitionWork): Promise<void> => {
      const { topic, bound, owlmqEnd } = one;
      const { partition } = bound;
      const translator = owlmqEnd === undefined ? undefined : new PartitionTranslator(options, reader, one, owlmqEnd);
      for (const group of groups) {
        options.signal?.throwIfAborted();
        const source = sourceOf(group, topic, partition);
        const isUndecided = commits.get(group)?.undecided.includes(`${topic}/${partition}`) ?? false;
        const translation = isUndecided ? undefined : await translator?.translate(source);
        const reason = isUndecided ? UNDECIDED : one.refusal;
        translated.push({ group, ...(translation ?? refused({ topic, partition, source }, reason)) });
      }
      options.onProgress?.({ done: ++done, of: work.length });
    };
    throwAll(await eachLimited(work, PARTITIONS_AT_ONCE, translate, isKafkaAway), 'The translation to OwlMQ');
    return byGroup(groups, topics, translated);
  } finally {
    await Promise.all([admin.close(), reader.close()]);
  }
}

/**
 * Begin and end of every partition, once its end that can be read has come to an offset. It may not have by then: no
 * transaction is waited for any longer.
 */
async function boundsUpTo(
  offsets: readonly number[],
  reader: LogReader,
  topic: string,
  until: number,
  signal: AbortSignal | undefined,
): Promise<PartitionBounds[]> {
  for (;;) {
    const bounds = await reader.bounds(topic, { signal });
    const isThere = bounds.every(({ partition, endOffset }) => endOffset >= (offsets[partition] ?? 0));
    if (isThere || performance.now() >= until) return bounds;
    await sleep(POLL_MS, undefined, signalOf(signal));
  }
}

/** A partition that is to be translated. */
interface PartitionWork {
  topic: string;
  bound: PartitionBounds;
  /** Undefined when OwlMQ does not have the topic's partitions, or Kafka's end cannot be read. */
  owlmqEnd: number | undefined;
  /** Says so. */
  refusal: string;
  syncs: OffsetSyncs | undefined;
  /** When a copy that is not there is missing, on the monotonic clock. */
  graceEnd: number;
}

/** A Kafka record, with what became of its copy. */
interface CopiedRecord extends SourceRecord {
  /** Partition of OwlMQ that has the copy, when it is another one. */
  elsewhere: number | undefined;
}

const UNDECIDED = 'a transaction that commits here is still open. Run this again once it has ended.';
const HIDDEN =
  'a transaction in the topic is still open, and what lies behind it cannot be read: OwlMQ may have it already. Run ' +
  'this again once it has ended.';
const MAX_OPEN = 10_000;
const POLL_MS = 100;

/** Translates the positions that groups have in one partition. */
class PartitionTranslator {
  readonly #options: TranslateToOwlmqOptions;
  readonly #work: PartitionWork;
  readonly #owlmqEnd: number;
  readonly #limit: number;
  readonly #kafka: ReadRanges<CopiedRecord>;
  readonly #owlmq: ReadRanges<{ offset: number; id: string }>;
  /** Intended copies that were not there, by Kafka offset. */
  readonly #open = new Map<number, Wanted>();
  /** Groups that are at the same place go on at the same place. */
  readonly #known = new Map<number | undefined, OffsetTranslation>();

  constructor(options: TranslateToOwlmqOptions, reader: LogReader, work: PartitionWork, owlmqEnd: number) {
    const { owlmq, signal } = options;
    const { topic, bound } = work;
    this.#options = options;
    this.#work = work;
    this.#owlmqEnd = owlmqEnd;
    this.#limit = options.maxRecords ?? DEFAULT_MAX_RECORDS;
    this.#kafka = new ReadRanges((from, to) =>
      this.#copied(kafkaPages(reader, topic, bound.partition, from, to, signal)),
    );
    this.#owlmq = new ReadRanges((from, to) => owlmqHeads(owlmq, topic, bound.partition, from, to, signal));
  }

  /** @param source the committed offset; undefined when there is none. */
  async translate(source: number | undefined): Promise<OffsetTranslation> {
    const known = this.#known.get(source) ?? (await this.#translate(source));
    this.#known.set(source, known);
    return known;
  }

  async #translate(source: number | undefined): Promise<OffsetTranslation> {
    const { topic, bound } = this.#work;
    const { partition, beginOffset, endOffset } = bound;
    const head = { topic, partition, source };
    const begin = start(source, bound, this.#options.reset);
    if (!begin.ok) return refused(head, begin.reason);
    const { committed } = begin;
    const fence = this.#options.until?.[topic]?.[partition] ?? Number.POSITIVE_INFINITY;
    // Before it a record may have no copy, which only a look at it tells.
    const isCovered = committed >= (this.#work.syncs?.coveredFrom ?? 0);
    const syncs = isCovered ? this.#work.syncs : undefined;

    const ahead = await this.#unconsumed(committed, syncs);
    if (ahead === undefined) {
      return refused(
        head,
        `the lag of ${endOffset - committed} records is above ${this.#limit}: let the group catch up, or run the ` +
          'audit first, so that less has to be looked at.',
      );
    }
    await this.#waitForCopies(ahead.records.filter(({ offset }) => offset < fence));
    const lowest = ahead.records.reduce((low, { target }) => Math.min(low, target ?? low), this.#owlmqEnd);

    // Consumed records whose copy lies behind the place come again, and those whose copy is still to come.
    const proven = Math.min(committed, Math.max(beginOffset, this.#options.proven?.[topic]?.[partition] ?? 0));
    const from = Math.min(committed, Math.max(beginOffset, allBelowUpTo(syncs?.kafkaToOwlmq ?? [], lowest) ?? 0));
    const delivered = this.#owlmqEnd - lowest;
    const readsOwlmq = ahead.all && committed - from > delivered + committed - proven;
    const consumedFrom = readsOwlmq ? proven : from;
    const unchecked = committed - consumedFrom > this.#limit ? committed - consumedFrom : 0;
    const consumed = unchecked > 0 ? [] : await this.#records(consumedFrom, committed);

    const records = [...consumed, ...ahead.records];
    const stray = records.find(({ elsewhere }) => elsewhere !== undefined);
    if (stray !== undefined) {
      return refused(head, `the copy of offset ${stray.offset} is in partition ${stray.elsewhere} of OwlMQ.`);
    }
    const isLate = ({ offset, target }: CopiedRecord): boolean => target === undefined && offset < proven;
    const placement = place({ records: records.filter((one) => !isLate(one)), committed, fence }, this.#owlmqEnd);
    if (!placement.ok) return refused(head, placement.reason);
    const { target } = placement;
    const redeliveries = new Redeliveries(placement, this.#options.maxRedeliveredIds ?? DEFAULT_MAX_REDELIVERED_IDS);
    if (readsOwlmq || unchecked > 0) {
      if (!ahead.all || delivered > this.#limit) return finished(head, target, {}, begin.reason, committed - from);
      for await (const page of this.#owlmq.pages(target, this.#owlmqEnd)) {
        for (const { id } of page.records) redeliveries.next(id);
      }
    } else {
      // By their place: records of Kafka that hold the same message have one copy.
      const again = new Map(consumed.map((record) => [record.target ?? -1, record.id]));
      for (const [offset, id] of [...again].sort(([one], [other]) => one - other)) {
        if (offset >= target) redeliveries.again(id);
      }
    }
    return finished(head, target, redeliveries.result, begin.reason, unchecked);
  }

  /**
   * The unconsumed records that decide on the place: all up to the end, or up to where a sync tells that what follows
   * lies behind it; and those that the audit has not proven to have a copy. Undefined when they are too many.
   */
  async #unconsumed(
    committed: number,
    syncs: OffsetSyncs | undefined,
  ): Promise<{ records: CopiedRecord[]; all: boolean } | undefined> {
    const { endOffset } = this.#work.bound;
    const records: CopiedRecord[] = [];
    const owlmqToKafka = syncs?.owlmqToKafka ?? [];
    let lowest = this.#owlmqEnd;
    let next = committed;
    while (next < Math.min(endOffset, nothingBelowFrom(owlmqToKafka, lowest) ?? endOffset)) {
      // No further than to where a sync may say that it is enough.
      const to = Math.min(endOffset, owlmqToKafka.find(([, within]) => within > next)?.[1] ?? endOffset);
      for await (const page of this.#kafka.pages(next, to)) {
        if (page.next - committed > this.#limit) return undefined;
        for (const record of page.records) {
          records.push(record);
          if (record.target !== undefined) lowest = Math.min(lowest, record.target);
        }
      }
      next = to;
    }
    const rest = Math.max(next, syncs?.kafkaToOwlmq.at(-1)?.[0] ?? 0);
    if (endOffset - rest > this.#limit) return undefined;
    for (const record of await this.#records(rest, endOffset)) records.push(record);
    return { records, all: rest === next };
  }

  async #records(from: number, to: number): Promise<CopiedRecord[]> {
    const records: CopiedRecord[] = [];
    for await (const page of this.#kafka.pages(from, to)) for (const record of page.records) records.push(record);
    return records;
  }

  async *#copied(pages: AsyncIterable<LogPage<FetchedRecord>>): AsyncGenerator<LogPage<CopiedRecord>> {
    const { owlmq, signal } = this.#options;
    const { topic, bound } = this.#work;
    const copies = new CopyFinder(owlmq, topic, bound.partition);
    for await (const { records, next } of pages) {
      const read = records.map((record) => ({ record, ...identify(record) }));
      const found = await copies.find(read, signal);
      const borrowed = read.filter(({ record }) => found.get(record.offset)?.as === 'other');
      for (const one of borrowed) Object.assign(one, { id: placeId(one.record), intended: false });
      for (const { record } of borrowed) found.delete(record.offset);
      for (const [offset, copy] of await copies.find(borrowed, signal)) found.set(offset, copy);
      copies.pass(next);
      yield {
        next,
        records: read.map(({ record, id, intended }): CopiedRecord => {
          const { offset } = record;
          const copy = found.get(offset);
          if (copy === undefined && intended && this.#open.size < MAX_OPEN) {
            // Not with all that was fetched beside it.
            this.#open.set(offset, { record: record.detached, id });
          }
          const isHere = copy?.partition === bound.partition;
          return {
            offset,
            id,
            intended,
            target: isHere ? copy.offset : undefined,
            elsewhere: isHere ? undefined : copy?.partition,
          };
        }),
      };
    }
  }

  /** Looks again for copies of unconsumed records, since those of the newest may be under way. */
  async #waitForCopies(unconsumed: readonly CopiedRecord[]): Promise<void> {
    const { signal, owlmq } = this.#options;
    const { topic, bound, graceEnd } = this.#work;
    const copies = new CopyFinder(owlmq, topic, bound.partition);
    let missing = unconsumed.filter((record) => record.target === undefined && this.#open.has(record.offset));
    while (missing.length > 0 && performance.now() < graceEnd) {
      await sleep(POLL_MS, undefined, signalOf(signal));
      const wanted = missing.flatMap(({ offset }) => this.#open.get(offset) ?? []);
      const found = await copies.lookUp(wanted, signal);
      for (const record of missing) {
        const copy = found.get(record.offset);
        if (copy === undefined || copy.as === 'other') continue;
        if (copy.partition === bound.partition) record.target = copy.offset;
        else record.elsewhere = copy.partition;
      }
      missing = missing.filter(({ target, elsewhere }) => target === undefined && elsewhere === undefined);
    }
  }
}

/** The id that a record's copy has, and whether its publisher meant to copy it. */
function identify(record: FetchedRecord): { id: string; intended: boolean } {
  const { id, copied } = readMarks(record);
  return { id: id ?? placeId(record), intended: id !== undefined && copied };
}
