import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, OffsetOutOfRangeError, type PartitionBounds } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import { HEADER, parsePosition } from '../message/headers.js';
import type { OwlmqApi, OwlmqStoredRecord } from '../owlmq/owlmq-api.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { AuditPartitionsError, AuditPositionLostError, LogReadStalledError, throwAll } from './audit-errors.js';
import { eachLimited } from './each-limited.js';
import { KafkaCopies } from './kafka-copies.js';
import { MirrorWindow, type KafkaPage, type WindowEntry } from './mirror-window.js';
import { ownedPartitions } from './partitions.js';
import { copyToOwlmq, lookupAll, payloadBytes } from './owlmq-copies.js';
import { noMirrorFigures, openMirrorCheckpoint, type MirrorCheckpoint, type MirrorFigures } from './checkpoints.js';
import { missedOf, MissedSince } from './missed-since.js';
import { placeId, readMarks } from './record-marks.js';

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
    this.#reader = new LogReader(options.connection, { clientId });
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
   * @throws {AuditPositionLostError} when retention passed a position, or OwlMQ lost records that Kafka has copies of.
   * @throws {AuditPartitionsError} when a topic has other partitions than the positions.
   * @throws {AuditRepairError} when a leg refuses a record.
   * @throws {AggregateError} of these when several partitions failed.
   */
  async step(options: MirrorStepOptions = {}): Promise<MirrorReport> {
    const { until, signal } = options;
    const deadline = performance.now() + (options.maxMs ?? (until === undefined ? 5_000 : 60_000));
    const goals = await this.#goals(until, signal);
    const errors = await eachLimited(this.#partitions, PARTITIONS_AT_ONCE, async (state) => {
      const goal = goals.get(state);
      if (goal !== undefined) await this.#advance(state, goal, until !== undefined, deadline, signal);
    });
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
      const kafka = await this.#reader.bounds(topic);
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
    const { window, topic, partition } = state;
    const { heads } = await this.#owlmq.readHeads(topic, partition, window.owlmqNext, HEADER.source, {
      maxRecords: PAGE_RECORDS,
      ...(signal === undefined ? {} : { signal }),
    });
    for (const { id, offset, timestamp, keyLength, valueLength, header } of heads) {
      state.newestTimestamp = Math.max(state.newestTimestamp, timestamp);
      window.addOwlmq({
        id,
        offset,
        bytes: Math.max(0, keyLength) + Math.max(0, valueLength),
        fromKafka: parsePosition(header)?.leg === 'kafka',
      });
    }
    state.missed.note(window.owlmqNext);
    return heads.length > 0;
  }

  async #readKafka(state: PartitionState, goal: Goal, signal: AbortSignal | undefined): Promise<boolean> {
    const { window, topic, partition } = state;
    const { records, nextOffset } = await this.#kafkaSlice(state, window.kafkaNext);
    if (nextOffset === window.kafkaNext) return false;
    const read = records.map((record) => {
      const { id, source } = readMarks(record);
      const copyOf = source?.leg === 'owlmq' && source.partition === partition ? source.offset : undefined;
      return { record, foreign: id === undefined, id: id ?? placeId(record), copyOf };
    });
    const places = await lookupAll(
      this.#owlmq,
      topic,
      read.flatMap(({ id, copyOf }) => (copyOf === undefined ? [id] : [])),
      signal,
    );
    const lost = read.find(({ copyOf, record }) => record.offset < goal.kafka && (copyOf ?? -1) >= goal.owlmqEnd);
    if (lost?.copyOf !== undefined) {
      throw new AuditPositionLostError('owlmq', topic, partition, lost.copyOf, 0, goal.owlmqEnd);
    }
    const page: KafkaPage = {
      end: nextOffset,
      open: 0,
      messages: 0,
      bytes: 0,
      foreign: 0,
      forwarded: 0,
      duplicates: 0,
      missing: 0,
    };
    for (const { record, id, foreign, copyOf } of read) {
      const bytes = record.payloadBytes;
      state.newestTimestamp = Math.max(state.newestTimestamp, record.timestamp);
      page.messages++;
      page.bytes += bytes;
      if (foreign) {
        page.foreign++;
        // Once the page is passed, they are on OwlMQ, unless it turns out that they are missing there.
        page.forwarded++;
      }
      const place = places.get(id);
      if (copyOf !== undefined) {
        window.addCopy(id, copyOf, record.offset, page);
      } else if (place === undefined) {
        state.strays.push({ id, record: record.detached, foreign, since: performance.now(), page });
        state.strayBytes += bytes;
        page.open++;
      } else if (place.partition === partition) {
        // Both may have been written first, by a publisher that tried again over the cutover.
        window.addCopy(id, place.offset, record.offset, page);
      }
    }
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

  /** Forwards the strays that waited long enough, in Kafka's order, or counts them. */
  async #forward(state: PartitionState, graceMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const full = this.#repairs && hasManyStrays(state);
    const young = state.strays.findIndex((stray) => age(state, stray.record.timestamp, stray.since) < graceMs);
    const due = state.strays.slice(0, full || young === -1 ? state.strays.length : young);
    if (due.length === 0) return false;
    const { topic } = state;
    const arrived = await lookupAll(
      this.#owlmq,
      topic,
      due.map(({ id }) => id),
      signal,
    );
    const missing = due.filter(({ id }) => !arrived.has(id));
    if (this.#repairs) await this.#copyStrays(state, missing, signal);
    else {
      for (const { page, foreign } of missing) {
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
    missing: readonly Stray[],
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
      for (const { id } of due) window.markMissing(id);
      return true;
    }
    const waiting = new Set([...window.waiting()].map(({ id }) => id));
    const missing = records.filter(({ id }) => waiting.has(id));
    const figures = this.#topicFigures(topic);
    for (const batch of byBytes(missing)) {
      await this.#kafkaCopies.write(topic, partition, batch);
      for (const { id } of batch) window.markCopied(id);
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
    const end = (await this.#reader.bounds(topic))[partition]?.endOffset ?? 0;
    let idle = 0;
    const stalled = (offset: number, next: number): void => {
      idle = next === offset ? idle + 1 : 0;
      if (idle > MAX_IDLE_READS) {
        throw new LogReadStalledError(`Kafka ${topic}/${partition}: no records at ${offset}, and the end is ${end}.`);
      }
    };
    while (window.kafkaNext < end && this.#canReadKafka(state)) {
      const before = window.kafkaNext;
      await this.#readKafka(state, goal, signal);
      stalled(before, window.kafkaNext);
    }
    // What there is no room to remember is looked through for these alone.
    const wanted = new Set(due.filter((entry) => entry.state === 'waiting').map(({ id }) => id));
    for (let offset = window.kafkaNext; offset < end && wanted.size > 0;) {
      signal?.throwIfAborted();
      const { records, nextOffset } = await this.#kafkaSlice(state, offset);
      for (const record of records) {
        const { id } = readMarks(record);
        if (id !== undefined && wanted.delete(id)) window.markCopied(id, record.offset);
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

  async #kafkaSlice(state: PartitionState, offset: number): Promise<{ records: FetchedRecord[]; nextOffset: number }> {
    const { topic, partition } = state;
    try {
      const [slice] = await this.#reader.read(topic, [{ partition, offset }], {
        maxWaitMs: 100,
        maxBytesPerPartition: PAGE_BYTES,
      });
      return slice ?? { records: [], nextOffset: offset };
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
      const bound = (await this.#reader.bounds(topic))[partition];
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
      for (const { record, since } of state.strays) {
        waiting++;
        oldest = Math.max(oldest ?? 0, age(state, record.timestamp, since));
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
 * more. Message ids make it harmless to be too early there.
 */
function age(state: PartitionState, timestamp: number, since: number): number {
  return Math.max(Math.max(Date.now(), state.newestTimestamp) - timestamp, performance.now() - since);
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
