import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, OffsetOutOfRangeError, type PartitionBounds, type PartitionSlice } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { HEADER, parsePosition } from '../message/headers.js';
import type { RecordHead } from '../contract/index.js';
import type { OwlmqApi, OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import {
  AuditPartitionsError,
  AuditPositionLostError,
  isKafkaAway,
  LogReadStalledError,
  throwAll,
} from './audit-errors.js';
import { eachLimited } from './each-limited.js';
import { KafkaCopies } from './kafka-copies.js';
import { claimOf, findStrangers } from './claimed-copies.js';
import { isCopyOf, MirrorWindow, type KafkaPage, type WindowEntry } from './mirror-window.js';
import { ownedPartitions } from './partitions.js';
import { CopyFinder, type Wanted } from './copy-finder.js';
import { copyToOwlmq, payloadBytes, type MissingCopy } from './owlmq-copies.js';
import { noMirrorFigures, openMirrorCheckpoint, type MirrorCheckpoint, type MirrorFigures } from './checkpoints.js';
import { missedOf, MissedSince } from './missed-since.js';
import { placeId, readMarks } from './record-marks.js';
import { asMessage, isSameMessage } from './same-message.js';

/** What a step leaves behind. */
export interface MirrorReport {
  checkpoint: MirrorCheckpoint;
  /**
   * Whether Kafka has all of OwlMQ up to `until`, or else up to the ends found at the step's begin, and OwlMQ has all
   * of Kafka up to the ends found at the step's begin.
   */
  complete: boolean;
  /** OwlMQ offsets between the positions and the goal. */
  unchecked: number;
  /** Records of either leg that the step saw without their counterpart, and is waiting for. */
  waiting: number;
  /** Age of the oldest of them, ms; absent when there is none. */
  oldestUnprovenMs?: number;
}

export interface MirrorAuditOptions {
  connection: KafkaConnection;
  owlmq: OwlmqApi;
  topics: readonly string[];
  /** OwlMQ ends at the cutover's fence. */
  owlmqPositions: TopicOffsets;
  /** Kafka ends at the cutover's fence. */
  kafkaPositions: TopicOffsets;
  /** Goes on where an earlier audit was, in place of the positions. */
  checkpoint?: MirrorCheckpoint | undefined;
  /** The partitions to see to, by topic; all of a topic that is not named. See `ForwardAuditOptions.partitions`. */
  partitions?: Readonly<Record<string, readonly number[]>> | undefined;
  /**
   * How long a counterpart may take to arrive before the audit writes it, ms. Must be longer than a publisher goes on
   * trying to write its Kafka copy: Kafka does not know message ids, so that a later one would be there twice. For a
   * Kafka copy it is counted from when this audit first missed it: a held `publish()` has an old message time.
   */
  graceMs: number;
  /** False: nothing is written. What is missing after the grace is counted as missing, and passed. */
  repair?: boolean;
  clientId?: string;
  /** For how long a step waits for a Kafka that does not answer, ms (default 30 s). */
  retryForMs?: number | undefined;
}

export interface MirrorStepOptions {
  /** Exclusive OwlMQ offsets to prove; publishers must be fenced, so that no copy is on its way any more. */
  until?: TopicOffsets;
  /** Bound on the step, ms (default 5 s; 60 s with `until`). What is left is for the next step. */
  maxMs?: number;
  signal?: AbortSignal | undefined;
}

/** A record that a publisher wrote to Kafka alone, waiting for its copy on OwlMQ. */
interface Stray {
  id: string;
  record: FetchedRecord;
  foreign: boolean;
  since: number;
  page: KafkaPage;
}

interface PartitionState {
  topic: string;
  partition: number;
  window: MirrorWindow;
  copies: CopyFinder;
  missed: MissedSince;
  strays: Stray[];
  strayBytes: number;
  newestTimestamp: number;
}

interface Goal {
  owlmq: number;
  owlmqEnd: number;
  kafka: number;
}

const PARTITIONS_AT_ONCE = 4;
const FENCED_GRACE_MS = 200;
const POLL_MS = 50;
/** Bounds on what is held of a partition. */
const MAX_WINDOW = 5_000;
const MAX_PAGES = 1_000;
const MAX_STRAYS = 1_000;
const MAX_STRAY_BYTES = 4 * 1024 * 1024;
const PAGE_RECORDS = 500;
const PAGE_BYTES = 256 * 1024;
const MAX_IDLE_READS = 20;
const REPAIR_BATCH = 200;
const REPAIR_BYTES = 4 * 1024 * 1024;
/** What an OwlMQ record counts as once it is passed. */
const PASSED_AS = { copied: 'copied', 'from kafka': 'fromKafka', missing: 'missing' } as const;

/**
 * Keeps both legs equal after cutover. OwlMQ is written first: a record of it whose copy does not reach Kafka is
 * written there, so that the way back stays open. A record that reached Kafka alone - from a publisher that missed the
 * cutover, or one without the library - is forwarded to OwlMQ. Where a record came from is in its headers, so that no
 * copy is copied back.
 *
 * Steps must not run side by side, nor two audits of the same topics.
 */
export class MirrorAudit {
  readonly #owlmq: OwlmqApi;
  readonly #reader: LogReader;
  readonly #kafkaCopies: KafkaCopies;
  readonly #topics: readonly string[];
  readonly #graceMs: number;
  readonly #repairs: boolean;
  readonly #partitions: PartitionState[];
  readonly #figures: Record<string, MirrorFigures>;
  /** Where the audit began; partitions that are not its own stay there. */
  readonly #start: Omit<MirrorCheckpoint, 'figures'>;

  constructor(options: MirrorAuditOptions) {
    const clientId = options.clientId ?? 'kafka-bridge-mirror-audit';
    this.#owlmq = options.owlmq;
    this.#topics = options.topics;
    this.#graceMs = options.graceMs;
    this.#repairs = options.repair ?? true;
    this.#reader = new LogReader(options.connection, { clientId, retryForMs: options.retryForMs });
    this.#kafkaCopies = new KafkaCopies(options.connection, clientId);
    const { figures, ...start } = openMirrorCheckpoint(
      options.checkpoint ?? { owlmq: options.owlmqPositions, kafka: options.kafkaPositions, figures: {} },
      options.topics,
    );
    const { owlmq, kafka, missed } = start;
    this.#start = start;
    this.#figures = figures;
    this.#partitions = options.topics.flatMap((topic) => {
      const kafkaOffsets = kafka[topic] ?? [];
      const owlmqOffsets = owlmq[topic] ?? [];
      if (kafkaOffsets.length !== owlmqOffsets.length) {
        throw new AuditPartitionsError('owlmq', topic, kafkaOffsets.length, owlmqOffsets.length);
      }
      return ownedPartitions(topic, owlmqOffsets.length, options.partitions).map((partition) => ({
        topic,
        partition,
        window: new MirrorWindow(owlmqOffsets[partition] ?? 0, kafkaOffsets[partition] ?? 0),
        copies: new CopyFinder(options.owlmq, topic, partition),
        missed: new MissedSince(options.graceMs, missed?.[topic]?.[partition]),
        strays: [],
        strayBytes: 0,
        newestTimestamp: 0,
      }));
    });
  }

  /** Where the audit is now: also after a step that threw. */
  get checkpoint(): MirrorCheckpoint {
    const { owlmq, kafka, missed, ...rest } = structuredClone(this.#start);
    for (const { topic, partition, window } of this.#partitions) {
      (owlmq[topic] ??= [])[partition] = window.owlmqLow;
      (kafka[topic] ??= [])[partition] = window.kafkaLow;
    }
    return { ...rest, owlmq, kafka, ...missedOf(missed, this.#partitions), figures: structuredClone(this.#figures) };
  }

  /**
   * Checks both legs from their positions to their ends, or OwlMQ exactly to `until`. Without `until` a counterpart
   * younger than the grace is left to a later step; with it the step waits for it.
   *
   * @throws {AuditPositionLostError} when retention passed a position, or OwlMQ ends before it.
   * @throws {AuditPartitionsError} when a topic has other partitions than the positions.
   * @throws {AuditRepairError} when a leg refuses a record.
   * @throws {LogUnavailableError} when Kafka did not answer for longer than a restart; the next step goes on.
   * @throws {AggregateError} of these when several partitions failed.
   */
  async step(options: MirrorStepOptions = {}): Promise<MirrorReport> {
    const { until, signal } = options;
    const deadline = performance.now() + (options.maxMs ?? (until === undefined ? 5_000 : 60_000));
    const goals = await this.#goals(until, signal);
    const work = async (state: PartitionState): Promise<void> => {
      const goal = goals.get(state);
      if (goal !== undefined) await this.#advance(state, goal, until !== undefined, deadline, signal);
    };
    const errors = await eachLimited(this.#partitions, PARTITIONS_AT_ONCE, work, isKafkaAway);
    signal?.throwIfAborted();
    throwAll(errors, 'The audit of OwlMQ against Kafka');
    return this.#report(goals);
  }

  async close(): Promise<void> {
    await Promise.all([this.#reader.close(), this.#kafkaCopies.close()]);
  }

  async #goals(until: TopicOffsets | undefined, signal: AbortSignal | undefined): Promise<Map<PartitionState, Goal>> {
    const goals = new Map<PartitionState, Goal>();
    for (const topic of this.#topics) {
      // Kafka first: then every copy below its end is of a record below OwlMQ's end.
      const kafka = await this.#reader.bounds(topic, { signal });
      const owlmq = await this.#owlmq.describeTopic(topic, signal === undefined ? {} : { signal });
      const states = this.#partitions.filter((state) => state.topic === topic);
      const count = this.#start.owlmq[topic]?.length ?? 0;
      if (kafka.length !== count) throw new AuditPartitionsError('kafka', topic, count, kafka.length);
      if (owlmq?.partitions.length !== count) {
        throw new AuditPartitionsError('owlmq', topic, count, owlmq?.partitions.length);
      }
      for (const state of states) {
        const { partition, window } = state;
        const kafkaBound = kafka[partition];
        const owlmqBound = owlmq.partitions.find((bound) => bound.partition === partition);
        const goal = until === undefined ? owlmqBound?.endOffset : until[topic]?.[partition];
        if (kafkaBound === undefined || owlmqBound === undefined || goal === undefined) {
          throw new AuditPartitionsError('owlmq', topic, count, until?.[topic]?.length);
        }
        assertInLog('kafka', state, window.kafkaLow, kafkaBound);
        assertInLog('owlmq', state, window.owlmqLow, owlmqBound);
        goals.set(state, { owlmq: goal, owlmqEnd: owlmqBound.endOffset, kafka: kafkaBound.endOffset });
      }
    }
    return goals;
  }

  async #advance(
    state: PartitionState,
    goal: Goal,
    fenced: boolean,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { window } = state;
    const graceMs = fenced ? Math.min(this.#graceMs, FENCED_GRACE_MS) : this.#graceMs;
    for (;;) {
      signal?.throwIfAborted();
      let progress = false;
      if (window.owlmqNext < goal.owlmqEnd && window.held < MAX_WINDOW) {
        progress = await this.#readOwlmq(state, signal);
      }
      if (window.kafkaNext < goal.kafka && this.#canReadKafka(state)) {
        progress = (await this.#readKafka(state, goal, signal)) || progress;
      }
      progress = (await this.#forward(state, graceMs, signal)) || progress;
      // Before the rest of Kafka was read, what looks missing mostly is not.
      if (window.kafkaNext >= goal.kafka || !this.#canReadKafka(state) || window.held >= MAX_WINDOW) {
        progress = (await this.#repair(state, goal, graceMs, signal)) || progress;
      }
      this.#pass(state);
      if (isComplete(state, goal) || performance.now() > deadline) return;
      if (progress) continue;
      if (!fenced) return;
      await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
  }

  async #readOwlmq(state: PartitionState, signal: AbortSignal | undefined): Promise<boolean> {
    const { window, topic, partition, missed } = state;
    const { heads } = await this.#owlmq.readHeads(topic, partition, window.owlmqNext, HEADER.source, {
      maxRecords: PAGE_RECORDS,
      ...(signal === undefined ? {} : { signal }),
    });
    const fromKafka = await this.#provenSources(state, heads, signal);
    const disputed: { offset: number; page: KafkaPage }[] = [];
    for (const head of heads) {
      const { id, offset, timestamp } = head;
      state.newestTimestamp = Math.max(state.newestTimestamp, timestamp);
      const bytes = Math.max(0, head.keyLength) + Math.max(0, head.valueLength);
      const other = window.addOwlmq({ id, offset, timestamp, bytes, fromKafka: fromKafka.has(offset) });
      if (other !== undefined) disputed.push(other);
    }
    missed.note(window.owlmqNext);
    for (const { offset, page } of disputed) {
      const record = await this.#kafkaRecord(state, offset, signal);
      page.open--;
      if (record !== undefined) await this.#takeFirst(state, [{ record, id: readMarks(record).id }], page, signal);
    }
    return heads.length > 0;
  }

  /**
   * Which of OwlMQ's records came from Kafka, by offset: those that name a Kafka record which has their id. What names
   * another one took over the headers of an old message, and has to be copied like any other.
   */
  async #provenSources(
    state: PartitionState,
    heads: readonly RecordHead[],
    signal: AbortSignal | undefined,
  ): Promise<Set<number>> {
    const named = heads.flatMap(({ id, offset, header }) => {
      const source = parsePosition(header);
      return source?.leg === 'kafka' && source.partition === state.partition
        ? [{ id, offset, kafka: source.offset }]
        : [];
    });
    const proven = new Set<number>();
    if (named.length === 0) return proven;
    const bound = (await this.#reader.bounds(state.topic, { signal }))[state.partition];
    const { beginOffset = 0, endOffset = 0 } = bound ?? {};
    let slice: PartitionSlice | undefined;
    for (const { id, offset, kafka } of named.sort((one, other) => one.kafka - other.kafka)) {
      if (kafka >= endOffset) continue;
      if (kafka >= beginOffset && (slice === undefined || kafka >= slice.nextOffset)) {
        slice = await this.#kafkaSlice(state, kafka, signal);
      }
      const record = kafka < beginOffset ? undefined : slice?.records.find((one) => one.offset === kafka);
      // What retention or compaction took cannot be looked at: then the header is believed.
      if (record === undefined || readMarks(record).id === id || placeId(record) === id) proven.add(offset);
    }
    return proven;
  }

  async #kafkaRecord(
    state: PartitionState,
    offset: number,
    signal: AbortSignal | undefined,
  ): Promise<FetchedRecord | undefined> {
    const { records } = await this.#kafkaSlice(state, offset, signal);
    return records.find((record) => record.offset === offset);
  }

  /** Reads the next page of Kafka, no further than the goal. */
  async #readKafka(state: PartitionState, goal: Goal, signal: AbortSignal | undefined): Promise<boolean> {
    const { window, topic, partition } = state;
    const slice = await this.#kafkaSlice(state, window.kafkaNext, signal);
    // Beyond it are copies of OwlMQ records that were not there when its end was looked up.
    const end = Math.min(slice.nextOffset, goal.kafka);
    if (end <= window.kafkaNext) return false;
    const page: KafkaPage = {
      end,
      open: 0,
      messages: 0,
      bytes: 0,
      foreign: 0,
      forwarded: 0,
      duplicates: 0,
      missing: 0,
    };
    const first: { record: FetchedRecord; id: string | undefined }[] = [];
    const late: { record: FetchedRecord; id: string; copyOf: number }[] = [];
    for (const record of slice.records) {
      if (record.offset >= end) break;
      const { id, source } = readMarks(record);
      state.newestTimestamp = Math.max(state.newestTimestamp, record.timestamp);
      page.messages++;
      page.bytes += record.payloadBytes;
      const copyOf = source?.leg === 'owlmq' && source.partition === partition ? source.offset : undefined;
      if (id === undefined || copyOf === undefined || copyOf >= goal.owlmqEnd) {
        first.push({ record, id });
        continue;
      }
      const taken = window.addCopy(claimOf(record, id), copyOf, page);
      if (taken === 'passed') late.push({ record, id, copyOf });
      else if (!taken) first.push({ record, id });
    }
    first.push(...(await findStrangers(this.#owlmq, topic, partition, late, signal)));
    first.sort((one, other) => one.record.offset - other.record.offset);
    await this.#takeFirst(state, first, page, signal);
    window.addPage(page);
    return true;
  }

  /**
   * Whether there is room for more of Kafka. Strays that are to be forwarded make room for themselves: ids make it
   * safe to be too early. To call one missing too early would be wrong, so others are waited for.
   */
  #canReadKafka(state: PartitionState): boolean {
    const { window } = state;
    if (!this.#repairs && hasManyStrays(state)) return false;
    return window.ahead < MAX_WINDOW && window.pages < MAX_PAGES;
  }

  /** Takes Kafka records that are no copies: those that OwlMQ does not have wait to be forwarded. */
  async #takeFirst(
    state: PartitionState,
    records: readonly { record: FetchedRecord; id: string | undefined }[],
    page: KafkaPage,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const foreign: Wanted[] = [];
    const ours: Wanted[] = [];
    for (const { record, id } of records) {
      if (id === undefined) foreign.push({ record, id: placeId(record) });
      else ours.push({ record, id });
    }
    const found = await state.copies.lookUp(ours, signal);
    const open: Omit<Stray, 'since' | 'page'>[] = [];
    for (const { record, id } of ours) {
      const copy = found.get(record.offset);
      if (copy === undefined) open.push({ record, id, foreign: false });
      else if (copy.as === 'other') foreign.push({ record, id: placeId(record) });
      else if (copy.as === 'duplicate') page.duplicates++;
      else if (copy.partition === state.partition) {
        // Both may have been written first, by a publisher that tried again over the cutover.
        state.window.addCopy({ id, offset: record.offset }, copy.offset, page);
      }
    }
    page.foreign += foreign.length;
    // Once the page is passed, they are on OwlMQ, unless it turns out that they are missing there.
    page.forwarded += foreign.length;
    const forwarded = await state.copies.lookUp(foreign, signal);
    for (const { record, id } of foreign) if (!forwarded.has(record.offset)) open.push({ record, id, foreign: true });
    open.sort((one, other) => one.record.offset - other.record.offset);
    for (const { record, id, foreign: isForeign } of open) {
      state.strays.push({ id, record: record.detached, foreign: isForeign, since: performance.now(), page });
      state.strayBytes += record.payloadBytes;
      page.open++;
    }
  }

  /** Forwards the strays that waited long enough, in Kafka's order, or counts them. */
  async #forward(state: PartitionState, graceMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const full = this.#repairs && hasManyStrays(state);
    const young = state.strays.findIndex((stray) => age(state, stray) < graceMs);
    const due = state.strays.slice(0, full || young === -1 ? state.strays.length : young);
    if (due.length === 0) return false;
    const arrived = await state.copies.lookUp(due, signal);
    const missing = new Map<string, Omit<Stray, 'since'>>();
    for (const { id, record, foreign, page } of due) {
      const copy = arrived.get(record.offset);
      const twin = missing.get(id);
      const other =
        twin === undefined ? copy?.as === 'other' : !isSameMessage(asMessage(twin.record), asMessage(record));
      if (other) {
        page.foreign++;
        page.forwarded++;
        missing.set(placeId(record), { id: placeId(record), record, foreign: true, page });
      } else if (twin !== undefined) {
        page.duplicates++;
      } else if (copy === undefined) {
        missing.set(id, { id, record, foreign, page });
      }
    }
    if (this.#repairs) await this.#copyStrays(state, [...missing.values()], signal);
    else {
      for (const { page, foreign } of missing.values()) {
        if (foreign) page.forwarded--;
        else page.missing++;
      }
    }
    for (const { page, record } of due) {
      page.open--;
      state.strayBytes -= record.payloadBytes;
    }
    state.strays.splice(0, due.length);
    return true;
  }

  async #copyStrays(
    { topic, partition }: PartitionState,
    missing: readonly MissingCopy[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const written = await copyToOwlmq(this.#owlmq, topic, partition, missing, signal);
    const figures = this.#topicFigures(topic);
    for (const { id, foreign } of missing) {
      if (foreign || written.get(id)?.written !== true) continue;
      figures.missing++;
      figures.repaired++;
      figures.late++;
    }
  }

  /** Writes to Kafka, in OwlMQ's order, the copies that are missing after the grace, or counts them. */
  async #repair(state: PartitionState, goal: Goal, graceMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { window, topic, partition } = state;
    const due: WindowEntry[] = [];
    let bytes = 0;
    for (const entry of window.waiting()) {
      if (due.length === REPAIR_BATCH || bytes > REPAIR_BYTES) break;
      if (state.missed.ms(entry.offset) < graceMs) break;
      due.push(entry);
      bytes += entry.bytes;
    }
    if (due.length === 0) return false;
    const records = this.#repairs ? await this.#owlmqRecords(state, due, signal) : [];
    // Once more, directly before writing: copies may have arrived, or lie beyond what was read.
    await this.#findInKafka(state, goal, due, signal);
    if (!this.#repairs) {
      for (const { offset } of due) window.markMissing(offset);
      return true;
    }
    const waiting = new Set([...window.waiting()].map(({ offset }) => offset));
    const missing = records.filter(({ offset }) => waiting.has(offset));
    const figures = this.#topicFigures(topic);
    for (const batch of byBytes(missing)) {
      await this.#kafkaCopies.write(topic, partition, batch);
      for (const { offset } of batch) window.markCopied(offset);
      figures.missing += batch.length;
      figures.repaired += batch.length;
    }
    return true;
  }

  /** Marks those whose copy is anywhere between what was read of Kafka and its end now. */
  async #findInKafka(
    state: PartitionState,
    goal: Goal,
    due: readonly WindowEntry[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { window, topic, partition } = state;
    // Kafka first: then every copy below its end is of a record below OwlMQ's end.
    const end = (await this.#reader.bounds(topic, { signal }))[partition]?.endOffset ?? 0;
    const described = await this.#owlmq.describeTopic(topic, signal === undefined ? {} : { signal });
    const owlmqEnd = described?.partitions.find((bound) => bound.partition === partition)?.endOffset ?? goal.owlmqEnd;
    const now: Goal = { ...goal, kafka: Math.max(goal.kafka, end), owlmqEnd };
    let idle = 0;
    const stalled = (offset: number, next: number): void => {
      idle = next === offset ? idle + 1 : 0;
      if (idle > MAX_IDLE_READS) {
        throw new LogReadStalledError(`Kafka ${topic}/${partition}: no records at ${offset}, and the end is ${end}.`);
      }
    };
    while (window.kafkaNext < end && this.#canReadKafka(state)) {
      const before = window.kafkaNext;
      await this.#readKafka(state, now, signal);
      stalled(before, window.kafkaNext);
    }
    // What there is no room to remember is looked through for these alone.
    const wanted = new Map(due.filter((entry) => entry.state === 'waiting').map((entry) => [entry.id, entry]));
    for (let offset = window.kafkaNext; offset < end && wanted.size > 0;) {
      signal?.throwIfAborted();
      const { records, nextOffset } = await this.#kafkaSlice(state, offset, signal);
      for (const record of records) {
        const { id } = readMarks(record);
        const entry = id === undefined ? undefined : wanted.get(id);
        if (id === undefined || entry === undefined || !isCopyOf(claimOf(record, id), entry)) continue;
        wanted.delete(id);
        window.markCopied(entry.offset, record.offset);
      }
      stalled(offset, nextOffset);
      offset = nextOffset;
    }
  }

  async #owlmqRecords(
    state: PartitionState,
    due: readonly WindowEntry[],
    signal: AbortSignal | undefined,
  ): Promise<OwlmqStoredRecord[]> {
    const { topic, partition } = state;
    const found: OwlmqStoredRecord[] = [];
    for (const { offset } of due) {
      if (found.some((record) => record.offset === offset)) continue;
      const { records } = await this.#owlmq.read(topic, partition, offset, {
        maxRecords: REPAIR_BATCH,
        ...(signal === undefined ? {} : { signal }),
      });
      const wanted = new Set(due.map((entry) => entry.offset));
      found.push(...records.filter((record) => wanted.has(record.offset)));
      if (records[0]?.offset !== offset) {
        throw new AuditPositionLostError('owlmq', topic, partition, offset, 0, offset);
      }
    }
    return found;
  }

  async #kafkaSlice(state: PartitionState, offset: number, signal: AbortSignal | undefined): Promise<PartitionSlice> {
    const { topic, partition } = state;
    try {
      const [slice] = await this.#reader.read(topic, [{ partition, offset }], {
        maxWaitMs: 100,
        maxBytesPerPartition: PAGE_BYTES,
        signal,
      });
      if (slice === undefined) throw new LogReadStalledError(`Kafka answers nothing of ${topic}/${partition}.`);
      return slice;
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
      const bound = (await this.#reader.bounds(topic, { signal }))[partition];
      throw new AuditPositionLostError(
        'kafka',
        topic,
        partition,
        offset,
        bound?.beginOffset ?? 0,
        bound?.endOffset ?? 0,
        { cause: error },
      );
    }
  }

  /** Moves the positions over all that is proven, and counts it. */
  #pass({ topic, window, missed }: PartitionState): void {
    const figures = this.#topicFigures(topic);
    const { entries, pages } = window.advance();
    missed.pass(window.owlmqLow);
    for (const { bytes, state } of entries) {
      figures.owlmq.messages++;
      figures.owlmq.bytes += bytes;
      if (state !== 'waiting') figures[PASSED_AS[state]]++;
    }
    for (const page of pages) {
      figures.kafka.messages += page.messages;
      figures.kafka.bytes += page.bytes;
      figures.foreign += page.foreign;
      figures.forwarded += page.forwarded;
      figures.duplicates += page.duplicates;
      figures.missing += page.missing;
      figures.late += page.missing;
    }
  }

  #report(goals: ReadonlyMap<PartitionState, Goal>): MirrorReport {
    let complete = true;
    let unchecked = 0;
    let waiting = 0;
    let oldest: number | undefined;
    for (const [state, goal] of goals) {
      complete &&= isComplete(state, goal);
      unchecked += Math.max(0, goal.owlmq - state.window.owlmqLow);
      for (const { offset } of state.window.waiting()) {
        waiting++;
        oldest = Math.max(oldest ?? 0, state.missed.ms(offset));
      }
      for (const stray of state.strays) {
        waiting++;
        if (!stray.foreign) oldest = Math.max(oldest ?? 0, age(state, stray));
      }
    }
    return {
      checkpoint: this.checkpoint,
      complete,
      unchecked,
      waiting,
      ...(oldest === undefined ? {} : { oldestUnprovenMs: oldest }),
    };
  }

  #topicFigures(topic: string): MirrorFigures {
    return (this.#figures[topic] ??= noMirrorFigures());
  }
}

function hasManyStrays({ strays, strayBytes }: PartitionState): boolean {
  return strays.length > MAX_STRAYS || strayBytes > MAX_STRAY_BYTES;
}

function isComplete({ window, strays }: PartitionState, goal: Goal): boolean {
  return window.owlmqLow >= goal.owlmq && window.kafkaNext >= goal.kafka && strays.length === 0;
}

/**
 * Of a record that OwlMQ lacks: by its time against the newest known one, or by how long it is missed, whichever is
 * more. Message ids make it harmless to be too early there. Nobody else copies a foreign record.
 */
function age(state: PartitionState, { foreign, record, since }: Stray): number {
  if (foreign) return Number.POSITIVE_INFINITY;
  return Math.max(Math.max(Date.now(), state.newestTimestamp) - record.timestamp, performance.now() - since);
}

function assertInLog(
  leg: 'kafka' | 'owlmq',
  { topic, partition }: PartitionState,
  position: number,
  bound: PartitionBounds,
): void {
  if (position < bound.beginOffset || position > bound.endOffset) {
    throw new AuditPositionLostError(leg, topic, partition, position, bound.beginOffset, bound.endOffset);
  }
}

/** Batches that fit a Kafka request. */
function* byBytes(records: readonly OwlmqStoredRecord[]): Generator<OwlmqStoredRecord[]> {
  let batch: OwlmqStoredRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = payloadBytes(record);
    if (batch.length > 0 && bytes + size > PAGE_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(record);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
