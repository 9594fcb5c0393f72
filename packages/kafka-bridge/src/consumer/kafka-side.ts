import { setMaxListeners } from 'node:events';
import type { Consumer, ConsumerConfig, EachBatchPayload, Kafka } from 'kafkajs';
import type { LogReader } from '../kafka/log-reader.js';
import { asError } from '../async/bounded.js';
import { Slots } from '../async/slots.js';
import { BeatingStanding } from './beating-standing.js';
import { fromKafka } from './consumed-message.js';
import { allDrained, Backoff, every, type ConsumingSide, type SideOptions } from './consuming-side.js';
import { PartitionProgress } from './partition-progress.js';
import { workThrough, type ReceivedAt } from './partition-work.js';

/** kafkajs's own consumer options but the group, which the DualConsumer names. */
export type KafkaConsumerOptions = Omit<ConsumerConfig, 'groupId' | 'allowAutoTopicCreation' | 'readUncommitted'> & {
  /** Partitions handled side by side, on either leg (default: `concurrency`). */
  partitionsConsumedConcurrently?: number;
};

export interface KafkaSideOptions extends SideOptions {
  kafka: Kafka;
  reader: LogReader;
  /** Where to begin on a partition without a commit. */
  fromBeginning: boolean;
  /** Offset that the side begins at on a partition unless the group is behind it already: older commits do not count. */
  from?: (topic: string, partition: number) => number;
  consumer: KafkaConsumerOptions;
}

/** The group's committed offset is not in the log any more: retention passed it, or the topic was made anew. */
export class CommittedOffsetLostError extends Error {
  override readonly name = 'CommittedOffsetLostError';
  constructor(topic: string, partition: number, committed: number, beginOffset: number) {
    super(
      `${topic}/${partition}: the committed offset ${committed} is outside of the log; going on at its begin, ${beginOffset}.`,
    );
  }
}

const IDLE_POLL_MS = 1_000;
const HEARTBEAT_MS = 1_000;

/** A partition as a member of the Kafka group has it. */
interface Assigned {
  progress: PartitionProgress;
  paused: boolean;
}

/**
 * A member of a Kafka group: the live side, or a shadow beside it. Positions are looked up and set by it, not left to
 * kafkajs: so they are known to a drain before the first message, a partition without a commit gets one as soon as it
 * is assigned, and a rebalance cannot move a "latest" start forward over messages.
 */
export class KafkaSide implements ConsumingSide {
  readonly #options: KafkaSideOptions;
  readonly #stop = new AbortController();
  readonly #slots: Slots;
  #finished: Promise<void> = Promise.resolve();
  #consumer: Consumer | undefined;
  /** Undefined while the group rebalances or the positions are not known yet. */
  #assigned: Map<string, Assigned> | undefined;
  /** Counts joins, so that a look-up for an older assignment is dropped. */
  #joins = 0;
  #lastError: Error | undefined;
  #memberId: string | undefined;
  /** Batches in hand whose commits are not made yet. */
  #batches = 0;
  /** When the group last heard of this member, on the monotonic clock. */
  #renewedAt = 0;

  constructor(options: KafkaSideOptions) {
    this.#options = options;
    this.#slots = new Slots(Math.max(options.concurrency, options.partitionsAtOnce));
    // As many as there are partitions in hand.
    setMaxListeners(0, this.#stop.signal);
  }

  get joined(): boolean {
    return this.#assigned !== undefined;
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  get memberId(): string | undefined {
    return this.#memberId;
  }

  get partitions(): readonly PartitionProgress[] {
    return [...(this.#assigned?.values() ?? [])].map(({ progress }) => progress);
  }

  get drained(): boolean {
    // Out of its group, or while it rebalances, it takes nothing on when it is to stop where it is.
    if (this.#assigned === undefined) return this.#options.stopping() && !this.#options.busy() && this.#batches === 0;
    return allDrained(this.partitions, this.#options);
  }

  start(): void {
    this.#finished = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#finished;
  }

  routingChanged(): void {
    this.#syncPauses();
  }

  async #run(): Promise<void> {
    const backoff = new Backoff({ initialMs: 300, maxMs: 5_000 });
    while (!this.#stop.signal.aborted) {
      try {
        await this.#session(backoff);
      } catch (error) {
        this.#lastError = asError(error);
        this.#options.onError(this.#lastError);
      }
      await backoff.wait(this.#stop.signal);
    }
  }

  /** From joining the group to leaving it, or to an error that kafkajs does not come back from. */
  async #session(backoff: Backoff): Promise<void> {
    const { kafka, groupId, topics, consumer: config, sessionTimeoutMs, partitionsAtOnce, onError } = this.#options;
    const { partitionsConsumedConcurrently: _, ...passed } = config;
    const consumer = kafka.consumer({
      maxWaitTimeInMs: 300,
      heartbeatInterval: Math.min(HEARTBEAT_MS, sessionTimeoutMs / 3),
      ...passed,
      sessionTimeout: sessionTimeoutMs,
      groupId,
      allowAutoTopicCreation: false,
      // A crash ends the session; the next one begins with a new consumer.
      retry: { ...passed.retry, restartOnFailure: () => Promise.resolve(false) },
    });
    const ended = new AbortController();
    this.#listen(consumer, ended, backoff);
    const idlePoll = every(IDLE_POLL_MS, () => this.#markEnds());
    try {
      await consumer.connect();
      // Positions are set by us; this is where kafkajs goes when retention overtakes one: never past what is there.
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      this.#consumer = consumer;
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: partitionsAtOnce,
        eachBatch: (payload) => this.#eachBatch(payload),
      });
      await aborted(AbortSignal.any([ended.signal, this.#stop.signal]));
    } finally {
      this.#joins += 1;
      this.#consumer = undefined;
      await idlePoll();
      // Finishes the message in hand and commits.
      await consumer.disconnect().catch((error: unknown) => {
        onError(asError(error));
      });
      this.#assigned = undefined;
      this.#memberId = undefined;
      this.#options.changed();
    }
    if (ended.signal.aborted) throw asError(ended.signal.reason);
  }

  #listen(consumer: Consumer, ended: AbortController, backoff: Backoff): void {
    const { events } = consumer;
    consumer.on(events.CRASH, ({ payload }) => {
      ended.abort(payload.error);
    });
    consumer.on(events.REBALANCING, () => {
      this.#joins += 1;
      this.#assigned = undefined;
      this.#options.changed();
    });
    consumer.on(events.HEARTBEAT, () => {
      this.#renewedAt = performance.now();
    });
    consumer.on(events.GROUP_JOIN, ({ payload }) => {
      this.#memberId = payload.memberId;
      this.#renewedAt = performance.now();
      this.#joins += 1;
      this.#assigned = undefined;
      const join = this.#joins;
      // In the same turn, so that nothing is fetched from where kafkajs believes to be.
      const partitions = Object.entries(payload.memberAssignment).map(([topic, list]) => ({ topic, partitions: list }));
      consumer.pause(partitions);
      this.#position(consumer, partitions, join).then(
        () => {
          backoff.reset();
        },
        (error: unknown) => {
          if (join === this.#joins) ended.abort(error);
        },
      );
    });
    consumer.on(events.END_BATCH_PROCESS, ({ payload }) => {
      // Nothing but control records or aborted messages: it is not handed to `eachBatch`.
      if (payload.batchSize > 0) return;
      const assigned = this.#assigned?.get(`${payload.topic}/${payload.partition}`);
      if (assigned === undefined) return;
      assigned.progress.next = Math.max(assigned.progress.next, Number(payload.lastOffset) + 1);
      this.#commitIdle(consumer, assigned.progress).catch((error: unknown) => {
        this.#options.onError(asError(error));
      });
    });
  }

  /** Looks up where each partition goes on, and goes there. */
  async #position(
    consumer: Consumer,
    topics: readonly { topic: string; partitions: number[] }[],
    join: number,
  ): Promise<void> {
    const { kafka, reader, groupId, fromBeginning, from, onError } = this.#options;
    const admin = kafka.admin();
    const assigned = new Map<string, Assigned>();
    const uncommitted: PartitionProgress[] = [];
    try {
      await admin.connect();
      const committedOffsets = await admin.fetchOffsets({ groupId, topics: topics.map(({ topic }) => topic) });
      for (const { topic, partitions } of topics) {
        const bounds = await reader.bounds(topic, { signal: this.#stop.signal });
        const stored = committedOffsets.find((entry) => entry.topic === topic)?.partitions ?? [];
        for (const partition of partitions) {
          const { beginOffset, endOffset } = bounds[partition] ?? { beginOffset: 0, endOffset: 0 };
          const committed = Number(stored.find((entry) => entry.partition === partition)?.offset ?? -1);
          const start = from?.(topic, partition);
          const begun = start === undefined ? committed >= 0 : committed >= start && committed <= endOffset;
          let next = begun ? committed : (start ?? (fromBeginning ? beginOffset : endOffset));
          if (next < beginOffset) {
            next = beginOffset;
            if (begun) onError(new CommittedOffsetLostError(topic, partition, committed, beginOffset));
          }
          const progress = new PartitionProgress(topic, partition, { next, committed });
          if (next !== committed) uncommitted.push(progress);
          assigned.set(progress.name, { progress, paused: true });
        }
      }
    } finally {
      await admin.disconnect();
    }
    if (join !== this.#joins) return;
    for (const { progress } of assigned.values()) {
      consumer.seek({ topic: progress.topic, partition: progress.partition, offset: String(progress.next) });
    }
    if (uncommitted.length > 0) {
      await consumer.commitOffsets(
        uncommitted.map(({ topic, partition, next }) => ({ topic, partition, offset: String(next) })),
      );
      for (const progress of uncommitted) progress.committed = progress.next;
    }
    if (join !== this.#joins) return;
    this.#assigned = assigned;
    this.#lastError = undefined;
    this.#syncPauses();
    this.#options.changed();
  }

  /** Partitions at their limit, and failed ones, stay assigned and are not fetched; while paused none is. */
  #syncPauses(): void {
    const consumer = this.#consumer;
    if (consumer === undefined || this.#assigned === undefined) return;
    for (const assigned of this.#assigned.values()) {
      const { topic, partition, next, failed } = assigned.progress;
      const pause = failed || this.#options.paused() || next >= this.#options.limit(topic, partition);
      if (pause === assigned.paused) continue;
      assigned.paused = pause;
      if (pause) consumer.pause([{ topic, partitions: [partition] }]);
      else consumer.resume([{ topic, partitions: [partition] }]);
    }
  }

  async #eachBatch(payload: EachBatchPayload): Promise<void> {
    const { topic, partition } = payload.batch;
    const progress = this.#assigned?.get(`${topic}/${partition}`)?.progress;
    if (progress === undefined || progress.failed || payload.isStale()) return;
    const { sessionTimeoutMs, interrupt, abandon, changed } = this.#options;
    const standing = new BeatingStanding({
      intervalMs: HEARTBEAT_MS / 2,
      beat: () => payload.heartbeat(),
      owned: () => performance.now() < this.#renewedAt + sessionTimeoutMs,
      stop: this.#stop.signal,
      interrupt,
      abandon,
    });
    this.#batches += 1;
    try {
      await this.#handle(payload, progress, standing);
    } finally {
      try {
        // In a rebalance the group still takes it, and nothing is delivered twice.
        await this.#commit(payload, progress);
      } finally {
        this.#batches -= 1;
        await standing.end();
      }
      this.#syncPauses();
      changed();
    }
    if (standing.lost !== undefined) throw standing.lost;
  }

  async #handle(payload: EachBatchPayload, progress: PartitionProgress, standing: BeatingStanding): Promise<void> {
    const all = await workThrough(received(payload), {
      side: this.#options,
      slots: this.#slots,
      progress,
      standing,
      mayGoOn: () => payload.isRunning(),
      passed: (offset) => {
        payload.resolveOffset(String(offset));
      },
      commit: () => this.#commit(payload, progress),
    });
    if (all) progress.next = Math.max(progress.next, Number(payload.batch.lastOffset()) + 1);
  }

  /** Commits the position, after the observations of what is before it. */
  async #commit(payload: EachBatchPayload, progress: PartitionProgress): Promise<void> {
    const { topic, partition, next } = progress;
    if (next === progress.committed) return;
    const raise = progress.mark();
    await this.#options.flush();
    raise();
    await payload.commitOffsetsIfNecessary({
      topics: [{ topic, partitions: [{ partition, offset: String(next) }] }],
    });
    progress.committed = next;
  }

  async #commitIdle(consumer: Consumer, progress: PartitionProgress): Promise<void> {
    const { topic, partition, next } = progress;
    await this.#options.flush();
    await consumer.commitOffsets([{ topic, partition, offset: String(next) }]);
    progress.committed = next;
    this.#syncPauses();
    this.#options.changed();
  }

  /** Raises the watermarks of idle partitions: those with everything up to the end committed. */
  async #markEnds(): Promise<void> {
    if (!this.#options.observing()) return;
    try {
      for (const topic of new Set(this.partitions.map((progress) => progress.topic))) {
        const now = Date.now();
        // Once: it is looked at again soon, and the end of a session waits for this.
        const bounds = await this.#options.reader.bounds(topic, { retryForMs: 0 });
        for (const progress of this.partitions) {
          const end = bounds[progress.partition]?.endOffset;
          if (progress.topic !== topic || end === undefined) continue;
          if (progress.committed === progress.next && progress.next >= end) progress.atEnd(now);
        }
      }
    } catch (error) {
      // The next look may succeed; until then the watermarks stand still, which the comparison shows.
      this.#options.onError(asError(error));
    }
  }
}

function* received({ batch }: EachBatchPayload): Iterable<ReceivedAt> {
  for (const record of batch.messages) {
    yield { ...fromKafka(batch.topic, batch.partition, record), offset: Number(record.offset) };
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
