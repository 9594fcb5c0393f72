import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, OffsetOutOfRangeError, type PartitionSlice } from '../kafka/log-reader.js';
import type { FetchedRecord } from '../kafka/fetched-record.js';
import type { OwlmqApi, PartitionOffset } from '../owlmq/owlmq-api.js';
import { isCopied } from '../publisher/copy-decision.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import {
  AuditPartitionsError,
  AuditPositionLostError,
  isKafkaAway,
  LogReadStalledError,
  throwAll,
} from './audit-errors.js';
import { noForwardFigures, openForwardCheckpoint, type ForwardCheckpoint, type ForwardFigures } from './checkpoints.js';
import { CopyFinder, type Found } from './copy-finder.js';
import { eachLimited } from './each-limited.js';
import { KeyOrder } from './key-order.js';
import { missedOf, MissedSince } from './missed-since.js';
import { copyToOwlmq, lookupAll, type MissingCopy } from './owlmq-copies.js';
import { ownedPartitions } from './partitions.js';
import { placeId, readMarks } from './record-marks.js';
import { asMessage, isSameMessage } from './same-message.js';

/** What a step of an audit leaves behind. */
export interface AuditReport {
  checkpoint: ForwardCheckpoint;
  /** Whether everything up to `until`, or else to the ends found at the step's begin, is proven. */
  complete: boolean;
  /** Kafka offsets between the positions and the goal. */
  unchecked: number;
  /** Missing copies that the step saw and is waiting for. */
  waiting: number;
  /** Age of the oldest record that the step saw and could not prove, ms; absent when there is none. */
  oldestUnprovenMs?: number;
}

export interface ForwardAuditOptions {
  connection: KafkaConnection;
  owlmq: OwlmqApi;
  topics: readonly string[];
  /** Next Kafka offset to check of each partition. Ignored for a checkpoint. */
  positions: TopicOffsets;
  /** Goes on where an earlier audit was. */
  checkpoint?: ForwardCheckpoint | undefined;
  /**
   * The partitions to see to, by topic; all of a topic that is not named. Several audits may share a topic: each one's
   * checkpoint has all partitions, those of others untouched, and `mergeForwardCheckpoints` makes one of them.
   */
  partitions?: Readonly<Record<string, readonly number[]>> | undefined;
  /**
   * Foreign records of these topics are copied to OwlMQ, by the rule that a publisher goes by at this ratio; there is no
   * grace, since nobody else copies them. Those of other topics are counted only.
   */
  forward?: { topics: readonly string[]; ratio: number } | undefined;
  /** How long a copy may take to arrive before the audit writes it, ms. */
  graceMs: number;
  /** False: nothing is written. A copy that is missing after the grace is counted as missing, and passed. */
  repair?: boolean;
  clientId?: string;
  /** For how long a step waits for a Kafka that does not answer, ms (default 30 s). */
  retryForMs?: number | undefined;
}

export interface ForwardStepOptions {
  /** Exclusive Kafka offsets to prove; publishers must be fenced, so that no copy is on its way any more. */
  until?: TopicOffsets;
  /** Bound on the step, ms (default 5 s; 60 s with `until`). What is left is for the next step. */
  maxMs?: number;
  signal?: AbortSignal | undefined;
}

interface PartitionState {
  topic: string;
  partition: number;
  copies: CopyFinder;
  order: KeyOrder;
  missed: MissedSince;
  newestTimestamp: number;
  waiting: number;
  oldestUnprovenMs: number | undefined;
}

/** What is expected of a record on OwlMQ. */
interface Expected {
  record: FetchedRecord;
  /** The id that its copy has. */
  id: string;
  /** Whether a copy is intended. */
  copied: boolean;
  foreign: boolean;
}

/** Bounds memory: each has at most two reads of Kafka and one of OwlMQ in hand. */
const PARTITIONS_AT_ONCE = 4;
/** Copies in flight when publishers were fenced have long arrived; a stopped publisher's may still be under way. */
const FENCED_GRACE_MS = 200;
const POLL_MS = 50;

/**
 * Proves, before cutover, that every record of Kafka whose copy was intended is on OwlMQ, and writes those copies that
 * do not arrive. Works page by page in bounded memory; positions pass a record only when it is proven, in the order of
 * the partition, so that a repair does not overtake an earlier one.
 *
 * Steps must not run side by side.
 */
export class ForwardAudit {
  readonly #owlmq: OwlmqApi;
  readonly #reader: LogReader;
  readonly #topics: readonly string[];
  readonly #graceMs: number;
  readonly #repairs: boolean;
  readonly #forward: ForwardAuditOptions['forward'];
  readonly #checkpoint: ForwardCheckpoint;
  readonly #partitions: PartitionState[];

  /**
   * @throws {AuditCheckpointError} when a later version of this software wrote the checkpoint.
   * @throws {RangeError} when a partition is asked for that there are no positions of.
   */
  constructor(options: ForwardAuditOptions) {
    const { owlmq, topics, graceMs, positions } = options;
    this.#owlmq = owlmq;
    this.#topics = topics;
    this.#graceMs = graceMs;
    this.#repairs = options.repair ?? true;
    this.#forward = options.forward;
    const { clientId = 'kafka-bridge-audit', retryForMs } = options;
    this.#reader = new LogReader(options.connection, { clientId, retryForMs });
    const start = options.checkpoint ?? { positions, coverage: positions, figures: {} };
    this.#checkpoint = openForwardCheckpoint(start, topics);
    const { missed } = this.#checkpoint;
    this.#partitions = topics.flatMap((topic) =>
      ownedPartitions(topic, this.#checkpoint.positions[topic]?.length ?? 0, options.partitions).map((partition) => ({
        topic,
        partition,
        copies: new CopyFinder(owlmq, topic, partition),
        order: new KeyOrder(),
        missed: new MissedSince(graceMs, missed?.[topic]?.[partition]),
        newestTimestamp: 0,
        waiting: 0,
        oldestUnprovenMs: undefined,
      })),
    );
  }

  /** Where the audit is now: also after a step that threw. */
  get checkpoint(): ForwardCheckpoint {
    const { missed, ...checkpoint } = structuredClone(this.#checkpoint);
    return { ...checkpoint, ...missedOf(missed, this.#partitions) };
  }

  /**
   * Checks each partition from its position to its end, or exactly to `until`. Without `until` a missing copy younger
   * than the grace ends a partition's part of the step; with it the step waits.
   *
   * @throws {AuditPositionLostError} when retention passed a position: nothing is skipped.
   * @throws {AuditPartitionsError} when a topic has other partitions than the positions.
   * @throws {AuditRepairError} when OwlMQ refuses a record.
   * @throws {LogUnavailableError} when Kafka did not answer for longer than a restart; the next step goes on.
   * @throws {AggregateError} of these when several partitions failed; the others went on.
   */
  async step(options: ForwardStepOptions = {}): Promise<AuditReport> {
    const { until, signal } = options;
    const deadline = performance.now() + (options.maxMs ?? (until === undefined ? 5_000 : 60_000));
    const goals = await this.#goals(until, signal);
    const work = async (state: PartitionState): Promise<void> => {
      const { end, goal } = goals.get(state) ?? { end: 0, goal: 0 };
      await this.#advance(state, Math.min(goal, end), until !== undefined, deadline, signal);
    };
    const errors = await eachLimited(this.#partitions, PARTITIONS_AT_ONCE, work, isKafkaAway);
    signal?.throwIfAborted();
    throwAll(errors, 'The audit of Kafka against OwlMQ');

    let unchecked = 0;
    let waiting = 0;
    let oldest: number | undefined;
    for (const state of this.#partitions) {
      unchecked += Math.max(0, (goals.get(state)?.goal ?? 0) - this.#position(state));
      waiting += state.waiting;
      if (state.oldestUnprovenMs !== undefined) oldest = Math.max(oldest ?? 0, state.oldestUnprovenMs);
    }
    return {
      checkpoint: this.checkpoint,
      complete: unchecked === 0,
      unchecked,
      waiting,
      ...(oldest === undefined ? {} : { oldestUnprovenMs: oldest }),
    };
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  async #goals(
    until: TopicOffsets | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Map<PartitionState, { end: number; goal: number }>> {
    const goals = new Map<PartitionState, { end: number; goal: number }>();
    for (const topic of this.#topics) {
      const bounds = await this.#reader.bounds(topic, { signal });
      const positions = this.#checkpoint.positions[topic] ?? [];
      if (positions.length !== bounds.length) {
        throw new AuditPartitionsError('kafka', topic, positions.length, bounds.length);
      }
      for (const state of this.#partitions) {
        const bound = state.topic === topic ? bounds[state.partition] : undefined;
        if (bound === undefined) continue;
        const position = this.#position(state);
        if (position < bound.beginOffset || position > bound.endOffset) {
          throw new AuditPositionLostError(
            'kafka',
            topic,
            state.partition,
            position,
            bound.beginOffset,
            bound.endOffset,
          );
        }
        const goal = until === undefined ? bound.endOffset : until[topic]?.[state.partition];
        if (goal === undefined)
          throw new AuditPartitionsError('kafka', topic, until?.[topic]?.length ?? 0, bounds.length);
        goals.set(state, { end: bound.endOffset, goal });
      }
    }
    return goals;
  }

  async #advance(
    state: PartitionState,
    goal: number,
    fenced: boolean,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    state.waiting = 0;
    state.oldestUnprovenMs = undefined;
    const graceMs = fenced ? Math.min(this.#graceMs, FENCED_GRACE_MS) : this.#graceMs;
    let ahead: Promise<PartitionSlice> | undefined;
    try {
      while (this.#position(state) < goal) {
        signal?.throwIfAborted();
        const position = this.#position(state);
        const slice = await (ahead ?? this.#read(state, position, signal));
        ahead = undefined;
        if (slice.nextOffset < goal && slice.nextOffset > position && performance.now() <= deadline) {
          ahead = this.#read(state, slice.nextOffset, signal);
          // It is awaited later, or not at all.
          ahead.catch(() => undefined);
        }
        const records = slice.records.filter(({ offset }) => offset < goal);
        const stopped = await this.#prove(state, records, graceMs, signal);
        this.#pass(state, stopped ?? Math.min(slice.nextOffset, goal));
        if (performance.now() > deadline) return;
        if (stopped !== undefined && !fenced) return;
        if (stopped !== undefined) ahead = undefined;
        if (stopped !== undefined || this.#position(state) === position) {
          await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
        }
      }
    } finally {
      state.copies.rest();
      await ahead?.catch(() => undefined);
    }
  }

  async #read(state: PartitionState, offset: number, signal: AbortSignal | undefined): Promise<PartitionSlice> {
    const { topic, partition } = state;
    try {
      const [slice] = await this.#reader.read(topic, [{ partition, offset }], { maxWaitMs: 100, signal });
      if (slice === undefined) throw new LogReadStalledError(`Kafka answers nothing of ${topic}/${partition}.`);
      return slice;
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
      // Between the step's begin and now.
      const bound = (await this.#reader.bounds(topic, { signal }))[partition];
      const { beginOffset = 0, endOffset = 0 } = bound ?? {};
      throw new AuditPositionLostError('kafka', topic, partition, offset, beginOffset, endOffset, { cause: error });
    }
  }

  /** Counts records as proven, in order, repairing the old ones. Returns the offset of the first that must wait. */
  async #prove(
    state: PartitionState,
    records: readonly FetchedRecord[],
    graceMs: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const { expected, found } = await this.#find(state, records, signal);
    for (const { timestamp } of records) state.newestTimestamp = Math.max(state.newestTimestamp, timestamp);

    const missing = new Map<string, MissingCopy>();
    const repeated = new Set<number>();
    let stopped: number | undefined;
    state.waiting = 0;
    state.oldestUnprovenMs = undefined;
    for (const [index, one] of expected.entries()) {
      const { record, id } = one;
      if (!one.copied || found.has(record.offset)) continue;
      state.missed.note(record.offset + 1);
      if (stopped === undefined) {
        // Nobody else copies a foreign record.
        const age = one.foreign ? Number.POSITIVE_INFINITY : this.#age(state, record);
        const twin = missing.get(id);
        if (twin !== undefined && isSameMessage(asMessage(twin.record), asMessage(record))) {
          repeated.add(record.offset);
        } else if (twin !== undefined) {
          const foreign = (expected[index] = this.#foreign(record));
          if (foreign.copied) missing.set(foreign.id, foreign);
        } else if (age >= graceMs) {
          missing.set(id, one);
        } else {
          stopped = record.offset;
          state.oldestUnprovenMs = age;
          state.waiting++;
        }
      } else {
        state.waiting++;
      }
    }
    const repaired = await this.#settle(state, [...missing.values()], signal);
    const figures = this.#figures(state.topic);
    for (const one of expected) {
      const { record, id, copied } = one;
      if (stopped !== undefined && record.offset >= stopped) break;
      const written = copied ? repaired.get(id) : undefined;
      const place =
        found.get(record.offset) ?? (written && { ...written, as: repeated.has(record.offset) ? 'duplicate' : 'copy' });
      this.#count(state, figures, one, place);
    }
    for (const { id, foreign } of missing.values()) {
      const copy = repaired.get(id);
      // Where nothing is repaired, one that came at the last moment is not called missing.
      if (foreign || (!this.#repairs && copy !== undefined)) continue;
      figures.missing++;
      if (copy?.written === true) figures.repaired++;
    }
    return stopped;
  }

  /** Writes missing copies, or looks for them once more: where they are then. */
  async #settle(
    { topic, partition }: PartitionState,
    missing: readonly MissingCopy[],
    signal: AbortSignal | undefined,
  ): Promise<Map<string, PartitionOffset & { written?: boolean }>> {
    if (this.#repairs) return await copyToOwlmq(this.#owlmq, topic, partition, missing, signal);
    const ids = missing.map(({ id }) => id);
    return await lookupAll(this.#owlmq, topic, ids, signal);
  }

  /** What is expected of records, and which of it is on OwlMQ, by Kafka offset. */
  async #find(
    state: PartitionState,
    records: readonly FetchedRecord[],
    signal: AbortSignal | undefined,
  ): Promise<{ expected: Expected[]; found: Map<number, Found> }> {
    const expected = records.map((record) => this.#expected(record));
    const found = await state.copies.find(
      expected.filter(({ copied }) => copied),
      signal,
    );
    const borrowed: Expected[] = [];
    for (const [index, one] of expected.entries()) {
      const { offset } = one.record;
      if (found.get(offset)?.as !== 'other') continue;
      found.delete(offset);
      const foreign = this.#foreign(one.record);
      expected[index] = foreign;
      if (foreign.copied) borrowed.push(foreign);
    }
    for (const [offset, copy] of await state.copies.find(borrowed, signal)) found.set(offset, copy);
    return { expected, found };
  }

  #expected(record: FetchedRecord): Expected {
    const { id, copied } = readMarks(record);
    return id === undefined ? this.#foreign(record) : { record, id, copied, foreign: false };
  }

  #foreign(record: FetchedRecord): Expected {
    const id = placeId(record);
    const { topics, ratio } = this.#forward ?? { topics: [], ratio: 0 };
    const copied = topics.includes(record.topic) && isCopied(record.key ?? Buffer.from(id), ratio);
    return { record, id, copied, foreign: true };
  }

  /** Counts a record as passed, with the place of its copy where it has one. */
  #count(
    state: PartitionState,
    figures: ForwardFigures,
    { record, copied, foreign }: Expected,
    copy: Found | undefined,
  ): void {
    const bytes = record.payloadBytes;
    figures.kafka.messages++;
    figures.kafka.bytes += bytes;
    if (foreign) figures.foreign++;
    if (copy === undefined) {
      if (!foreign && !copied) figures.notCopied++;
      const starts = this.#checkpoint.coverage[state.topic];
      if (starts !== undefined) starts[state.partition] = record.offset + 1;
      return;
    }
    figures.owlmq.messages++;
    figures.owlmq.bytes += bytes;
    figures[foreign ? 'forwarded' : 'copied']++;
    if (copy.partition !== state.partition) figures.misplaced++;
    if (copy.as === 'duplicate') figures.duplicates++;
    else if (state.order.isInversion(record.keyText, copy.offset)) figures.inversions++;
  }

  /**
   * By the record's time against the newest known one, or by how long the audit has been missing it, whichever is
   * more: a producer's clock that runs ahead must not hold the audit for ever.
   */
  #age(state: PartitionState, record: FetchedRecord): number {
    const byTime = Math.max(Date.now(), state.newestTimestamp) - record.timestamp;
    return Math.max(byTime, state.missed.ms(record.offset));
  }

  #position({ topic, partition }: PartitionState): number {
    return this.#checkpoint.positions[topic]?.[partition] ?? 0;
  }

  #pass(state: PartitionState, offset: number): void {
    const positions = this.#checkpoint.positions[state.topic];
    if (positions !== undefined) positions[state.partition] = offset;
    state.missed.pass(offset);
    state.copies.pass(offset);
  }

  #figures(topic: string): ForwardFigures {
    return (this.#checkpoint.figures[topic] ??= noForwardFigures());
  }
}
