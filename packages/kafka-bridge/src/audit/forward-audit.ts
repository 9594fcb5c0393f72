import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { LogReader, OffsetOutOfRangeError, type LogRecord } from '../kafka/log-reader.js';
import { foreignMessageId, readProvenance } from '../message/headers.js';
import type { OwlmqApi, PartitionOffset } from '../owlmq/owlmq-api.js';
import { isCopied } from '../publisher/copy-decision.js';
import type { TopicOffsets } from '../routing/routing-state.js';
import { AuditPartitionsError, AuditPositionLostError, throwAll } from './audit-errors.js';
import { eachLimited } from './each-limited.js';
import { KeyOrder } from './key-order.js';
import { ownedPartitions } from './partitions.js';
import { copyToOwlmq, lookupAll, payloadBytes, type MissingCopy } from './owlmq-copies.js';

/** What was counted of a topic since the audit's first start, over all restarts. */
export interface ForwardFigures {
  /** Records of Kafka that the audit has passed, and the bytes of their keys and values. */
  kafka: { messages: number; bytes: number };
  /** Those among them that OwlMQ is proven to hold. */
  owlmq: { messages: number; bytes: number };
  /** Records whose copy was intended, all of them proven. */
  copied: number;
  /** Records of the library whose copy was not intended (ratio below 1). */
  notCopied: number;
  /** Records without the library's id: their producer does not use the bridge. */
  foreign: number;
  /** Those among the foreign that OwlMQ is proven to hold, copied by the bridge. */
  forwarded: number;
  /** Intended copies that OwlMQ did not have after the grace. */
  missing: number;
  /** Those among the missing that the audit wrote; the others arrived while it tried. */
  repaired: number;
  /** Copies behind a copy of a later record of their key, as far as can be told in bounded memory. */
  inversions: number;
  /** Records of a message that an earlier record of the partition had already. */
  duplicates: number;
  /** Copies that are in another partition than their record. */
  misplaced: number;
}

/** All that a later `ForwardAudit` needs to go on. Safe as JSON. */
export interface ForwardCheckpoint {
  /** Next Kafka offset to check: everything before it is proven, since the first start. */
  positions: TopicOffsets;
  /** Kafka offset from which on every record up to `positions` has its copy on OwlMQ. */
  coverage: TopicOffsets;
  figures: Record<string, ForwardFigures>;
}

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
  clientId?: string;
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
  order: KeyOrder;
  newestTimestamp: number;
  /** The missing record at the position, and since when it is missed, on the monotonic clock. */
  missed: { offset: number; since: number } | undefined;
  waiting: number;
  oldestUnprovenMs: number | undefined;
}

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
  readonly #forward: ForwardAuditOptions['forward'];
  readonly #checkpoint: ForwardCheckpoint;
  readonly #partitions: PartitionState[];

  constructor(options: ForwardAuditOptions) {
    this.#owlmq = options.owlmq;
    this.#topics = options.topics;
    this.#graceMs = options.graceMs;
    this.#forward = options.forward;
    this.#reader = new LogReader(options.connection, { clientId: options.clientId ?? 'kafka-bridge-audit' });
    const { positions, coverage, figures } = options.checkpoint ?? {
      positions: options.positions,
      coverage: options.positions,
      figures: {},
    };
    // One by one: a clone of the whole would keep positions and coverage one object.
    this.#checkpoint = {
      positions: structuredClone(positions),
      coverage: structuredClone(coverage),
      figures: structuredClone(figures),
    };
    for (const topic of options.topics) {
      this.#checkpoint.figures[topic] = { ...noFigures(), ...this.#checkpoint.figures[topic] };
    }
    this.#partitions = options.topics.flatMap((topic) =>
      ownedPartitions(topic, this.#checkpoint.positions[topic]?.length ?? 0, options.partitions).map((partition) => ({
        topic,
        partition,
        order: new KeyOrder(),
        newestTimestamp: 0,
        missed: undefined,
        waiting: 0,
        oldestUnprovenMs: undefined,
      })),
    );
  }

  /** Where the audit is now: also after a step that threw. */
  get checkpoint(): ForwardCheckpoint {
    return structuredClone(this.#checkpoint);
  }

  /**
   * Checks each partition from its position to its end, or exactly to `until`. Without `until` a missing copy younger
   * than the grace ends a partition's part of the step; with it the step waits.
   *
   * @throws {AuditPositionLostError} when retention passed a position: nothing is skipped.
   * @throws {AuditPartitionsError} when a topic has other partitions than the positions.
   * @throws {AuditRepairError} when OwlMQ refuses a record.
   * @throws {AggregateError} of these when several partitions failed; the others went on.
   */
  async step(options: ForwardStepOptions = {}): Promise<AuditReport> {
    const { until, signal } = options;
    const deadline = performance.now() + (options.maxMs ?? (until === undefined ? 5_000 : 60_000));
    const goals = await this.#goals(until);
    const errors = await eachLimited(this.#partitions, PARTITIONS_AT_ONCE, async (state) => {
      const { end, goal } = goals.get(state) ?? { end: 0, goal: 0 };
      await this.#advance(state, Math.min(goal, end), until !== undefined, deadline, signal);
    });
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

  async #goals(until: TopicOffsets | undefined): Promise<Map<PartitionState, { end: number; goal: number }>> {
    const goals = new Map<PartitionState, { end: number; goal: number }>();
    for (const topic of this.#topics) {
      const bounds = await this.#reader.bounds(topic);
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
    while (this.#position(state) < goal) {
      signal?.throwIfAborted();
      const slice = await this.#read(state);
      const records = slice.records.filter(({ offset }) => offset < goal);
      const stopped = await this.#prove(state, records, graceMs, signal);
      const before = this.#position(state);
      this.#setPosition(state, stopped ?? Math.min(slice.nextOffset, goal));
      const idle = this.#position(state) === before;
      if (performance.now() > deadline) return;
      if (stopped !== undefined && !fenced) return;
      if (stopped !== undefined || idle) await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
  }

  async #read(state: PartitionState): Promise<{ records: LogRecord[]; nextOffset: number }> {
    const { topic, partition } = state;
    const position = this.#position(state);
    try {
      const [slice] = await this.#reader.read(topic, [{ partition, offset: position }], { maxWaitMs: 100 });
      return slice ?? { records: [], nextOffset: position };
    } catch (error) {
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
      // Between the step's begin and now.
      const bound = (await this.#reader.bounds(topic))[partition];
      throw new AuditPositionLostError(
        'kafka',
        topic,
        partition,
        position,
        bound?.beginOffset ?? 0,
        bound?.endOffset ?? 0,
        { cause: error },
      );
    }
  }

  /** Counts records as proven, in order, repairing the old ones. Returns the offset of the first that must wait. */
  async #prove(
    state: PartitionState,
    records: readonly LogRecord[],
    graceMs: number,
    signal: AbortSignal | undefined,
  ): Promise<number | undefined> {
    const read = records.map((record) => this.#expected(record));
    const places: Map<string, PartitionOffset> = await lookupAll(
      this.#owlmq,
      state.topic,
      read.flatMap(({ id, copied }) => (copied ? [id] : [])),
      signal,
    );
    for (const { timestamp } of records) state.newestTimestamp = Math.max(state.newestTimestamp, timestamp);

    const missing: MissingCopy[] = [];
    let stopped: number | undefined;
    state.waiting = 0;
    state.oldestUnprovenMs = undefined;
    for (const { record, id, copied, foreign } of read) {
      if (!copied || places.has(id)) continue;
      if (stopped === undefined) {
        const age = foreign ? Number.POSITIVE_INFINITY : this.#age(state, record);
        if (age >= graceMs) {
          missing.push({ id, record, foreign });
          continue;
        }
        stopped = record.offset;
        state.oldestUnprovenMs = age;
      }
      state.waiting++;
    }
    const repaired = await copyToOwlmq(this.#owlmq, state.topic, state.partition, missing, signal);

    const { figures, coverage } = this.#checkpoint;
    const topicFigures = (figures[state.topic] ??= noFigures());
    for (const { record, id, copied, foreign } of read) {
      if (stopped !== undefined && record.offset >= stopped) break;
      const bytes = payloadBytes(record);
      topicFigures.kafka.messages++;
      topicFigures.kafka.bytes += bytes;
      if (foreign) topicFigures.foreign++;
      const place = copied ? (places.get(id) ?? repaired.get(id)) : undefined;
      if (place === undefined) {
        if (!foreign) topicFigures.notCopied++;
        const starts = coverage[state.topic];
        if (starts !== undefined) starts[state.partition] = record.offset + 1;
        continue;
      }
      topicFigures.owlmq.messages++;
      topicFigures.owlmq.bytes += bytes;
      topicFigures[foreign ? 'forwarded' : 'copied']++;
      if (place.partition !== state.partition) topicFigures.misplaced++;
      const order = state.order.next(record.key, id, place.offset);
      if (order === 'inversion') topicFigures.inversions++;
      if (order === 'duplicate') topicFigures.duplicates++;
    }
    for (const { id, foreign } of missing) {
      if (foreign) continue;
      topicFigures.missing++;
      if (repaired.get(id)?.written === true) topicFigures.repaired++;
    }
    return stopped;
  }

  /** Under which id a record is on OwlMQ, and whether it is to be there. */
  #expected(record: LogRecord): { record: LogRecord; id: string; copied: boolean; foreign: boolean } {
    const { topic, partition, offset, key } = record;
    const { id, copied } = readProvenance(record.headers);
    if (id !== undefined) return { record, id, copied, foreign: false };
    const place = foreignMessageId(topic, partition, offset);
    const { topics, ratio } = this.#forward ?? { topics: [], ratio: 0 };
    const forwarded = topics.includes(topic) && isCopied(key ?? Buffer.from(place), ratio);
    return { record, id: place, copied: forwarded, foreign: true };
  }

  /**
   * By the record's time against the newest known one, or by how long the audit has been missing it, whichever is
   * more: a producer's clock that runs ahead must not hold the audit for ever.
   */
  #age(state: PartitionState, record: LogRecord): number {
    const now = performance.now();
    if (state.missed?.offset !== record.offset) state.missed = { offset: record.offset, since: now };
    return Math.max(Math.max(Date.now(), state.newestTimestamp) - record.timestamp, now - state.missed.since);
  }

  #position({ topic, partition }: PartitionState): number {
    return this.#checkpoint.positions[topic]?.[partition] ?? 0;
  }

  #setPosition({ topic, partition }: PartitionState, offset: number): void {
    const positions = this.#checkpoint.positions[topic];
    if (positions !== undefined) positions[partition] = offset;
  }
}

function noFigures(): ForwardFigures {
  return {
    kafka: { messages: 0, bytes: 0 },
    owlmq: { messages: 0, bytes: 0 },
    copied: 0,
    notCopied: 0,
    foreign: 0,
    forwarded: 0,
    missing: 0,
    repaired: 0,
    inversions: 0,
    duplicates: 0,
    misplaced: 0,
  };
}
