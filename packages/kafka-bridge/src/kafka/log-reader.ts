import { Consumer, MultipleErrors } from '@platformatic/kafka';
import { backoffMs, pause, unlessAborted } from '../async/bounded.js';
import { rootMessages, withCauses } from '../async/causes.js';
import { fetchBatches } from './fetch-batches.js';
import type { FetchedRecord } from './fetched-record.js';
import { directClientOptions, type KafkaConnection } from './kafka-connection.js';
import { brokerError, isPassing, LeaderUnknownError } from './passing-errors.js';
import { recordsOf } from './read-batches.js';

/** Begin and end of a partition. `endOffset` is the last stable offset: open transactions are not passed. */
export interface PartitionBounds {
  partition: number;
  beginOffset: number;
  endOffset: number;
}

/** What one fetch found in one partition. */
export interface PartitionSlice {
  partition: number;
  records: FetchedRecord[];
  /** Where to read on: behind control records and compacted gaps too. */
  nextOffset: number;
  /** Last stable offset at the time of the answer. Equal to `nextOffset` when the end was reached. */
  endOffset: number;
  /** Kafka's id of the topic that answered: one that was deleted and made anew has another. */
  topicId: string;
}

export interface LogReadOptions extends LogCallOptions {
  /** How long the broker may wait for a first record, ms (default 0). */
  maxWaitMs?: number;
  /** Bound on one partition's share of an answer (default 1 MiB). */
  maxBytesPerPartition?: number;
}

/** A position is before the log's begin: retention took the records, and going on would skip them. */
export class OffsetOutOfRangeError extends Error {
  override readonly name = 'OffsetOutOfRangeError';
  constructor(
    readonly topic: string,
    readonly partitions: readonly number[],
    options?: ErrorOptions,
  ) {
    super(
      `Topic ${topic}: the position of partition ${partitions.join(', ')} is outside of the log. Retention has passed it, or the topic was made anew.`,
      options,
    );
  }
}

/** The topic does not exist, or the client may not see it. */
export class UnknownTopicError extends Error {
  override readonly name = 'UnknownTopicError';
  constructor(
    readonly topic: string,
    options?: ErrorOptions,
  ) {
    super(`Topic ${topic} does not exist in Kafka, or this client may not describe it.`, options);
  }
}

/**
 * Kafka did not answer for a topic, however often it was asked: no broker can be reached, or partitions have no leader.
 * What goes on for longer than a restart is for a person: look at the brokers and at the way to them.
 */
export class LogUnavailableError extends Error {
  override readonly name = 'LogUnavailableError';
  constructor(
    readonly topic: string,
    /** For how long it was tried, ms. */
    readonly triedMs: number,
    readonly attempts: number,
    options: { cause: unknown },
  ) {
    const often = attempts === 1 ? 'asked once' : `asked ${attempts} times`;
    super(
      `Kafka does not answer for topic ${topic}, ${often} in ${(triedMs / 1_000).toFixed(1)} s: ` +
        rootMessages(options.cause).join('; '),
      options,
    );
  }
}

/** How a call behaves while Kafka does not answer. */
export interface LogCallOptions {
  /** For how long new attempts are made, ms (default: the reader's). 0: one attempt. */
  retryForMs?: number | undefined;
  /** Ends the call at once; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

const REQUEST_MARGIN_MS = 10_000;
const DEFAULT_RETRY_FOR_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
const OFFSET_OUT_OF_RANGE = 1;

/**
 * Reads partitions of Kafka without a consumer group, so that nothing is left behind on the cluster, and tells apart
 * "no records yet" and "the end was reached", which leases and fences depend on.
 *
 * Reads what is committed: neither records of open nor those of aborted transactions. One reader may be used for several topics; calls may run side by side.
 *
 * Outlasts a restart of a broker: what fails for now is tried again with backoff, half a minute by default, and rejects
 * with a {@link LogUnavailableError} then. `close()` ends calls that wait for a next attempt.
 */
export class LogReader {
  readonly #consumer: Consumer;
  readonly #retryForMs: number;
  readonly #closing = new AbortController();

  constructor(
    connection: KafkaConnection,
    options: {
      clientId: string;
      maxWaitMs?: number;
      /** For how long calls try while Kafka does not answer, ms (default 30 s). */
      retryForMs?: number | undefined;
    },
  ) {
    this.#retryForMs = options.retryForMs ?? DEFAULT_RETRY_FOR_MS;
    this.#consumer = new Consumer({
      ...directClientOptions(connection, options.clientId),
      // Demanded by the client; no group is joined by fetches.
      groupId: `${options.clientId}-reads-without-group`,
      isolationLevel: 1,
      requestTimeout: (options.maxWaitMs ?? 0) + REQUEST_MARGIN_MS,
      // Attempts are made here: with renewed metadata, for as long as the caller wants, and no longer.
      retries: 0,
      metadataMaxAge: 30_000,
    });
  }

  /**
   * Number of partitions of a topic.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async partitionCount(topic: string, call: LogCallOptions = {}): Promise<number> {
    return await this.#persist(topic, call, async (renew) => (await this.#topic(topic, renew)).partitions.length);
  }

  /**
   * Kafka's id of a topic, as metadata of at most 30 s ago has it: one that was deleted and made anew has another.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async topicId(topic: string, call: LogCallOptions = {}): Promise<string> {
    return await this.#persist(topic, call, async (renew) => (await this.#topic(topic, renew)).id);
  }

  /**
   * Broker that leads each partition, by index, as metadata of at most 30 s ago has it; -1 for a partition without one.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async leaders(topic: string, call: LogCallOptions = {}): Promise<number[]> {
    const { partitions } = await this.#persist(topic, call, (renew) => this.#topic(topic, renew));
    return Array.from(partitions, (partition) => partition.leader);
  }

  /**
   * Begin and end of every partition, by index.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async bounds(topic: string, call: LogCallOptions = {}): Promise<PartitionBounds[]> {
    const [begin, end] = await this.#persist(topic, call, async (renew) => {
      const indexes = await this.#ledPartitions(topic, renew);
      return await Promise.all([
        this.#listOffsets(topic, indexes, { timestamp: -2n }),
        this.#listOffsets(topic, indexes, { timestamp: -1n, isolationLevel: 1 }),
      ]);
    });
    return end.map((endOffset, partition) => ({
      partition,
      beginOffset: Number(begin[partition] ?? 0n),
      endOffset: Number(endOffset ?? 0n),
    }));
  }

  /**
   * End offsets of every partition, by index.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async ends(topic: string, call: LogCallOptions = {}): Promise<number[]> {
    return (await this.bounds(topic, call)).map((bound) => bound.endOffset);
  }

  /**
   * Offsets behind the last record of every partition, by index: those of open transactions, and what lies behind them,
   * are before it, though `read` does not hand them out yet.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async highWatermarks(topic: string, call: LogCallOptions = {}): Promise<number[]> {
    const found = await this.#persist(topic, call, async (renew) => {
      const indexes = await this.#ledPartitions(topic, renew);
      return await this.#listOffsets(topic, indexes, { timestamp: -1n, isolationLevel: 0 });
    });
    return found.map((offset) => Number(offset ?? 0n));
  }

  /**
   * Offset of each partition's first record at or after a time (Unix ms), by index; the end offset where there is none.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async offsetsForTime(topic: string, time: number, call: LogCallOptions = {}): Promise<number[]> {
    const ends = await this.ends(topic, call);
    const found = await this.#persist(topic, call, async (renew) => {
      return await this.#listOffsets(topic, await this.#ledPartitions(topic, renew), { timestamp: BigInt(time) });
    });
    return ends.map((end, partition) => {
      const offset = Number(found[partition] ?? -1n);
      return offset < 0 ? end : offset;
    });
  }

  /**
   * One fetch from each given partition, one request a leader. Partitions without news have an empty slice.
   *
   * @throws {OffsetOutOfRangeError} when a position is outside of the log.
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async read(
    topic: string,
    positions: readonly { partition: number; offset: number }[],
    options: LogReadOptions = {},
  ): Promise<PartitionSlice[]> {
    return await this.#persist(topic, options, async (renew) => {
      const answers = await this.#fetch(topic, positions, options, renew);
      const failed = answers.filter(({ errorCode }) => errorCode !== 0);
      const outOfRange = failed.filter(({ errorCode }) => errorCode === OFFSET_OUT_OF_RANGE);
      if (outOfRange.length > 0) {
        throw new OffsetOutOfRangeError(
          topic,
          outOfRange.map(({ partition }) => partition),
        );
      }
      if (failed.length > 0) {
        const partitions = failed.map(({ partition }) => partition).join(', ');
        throw new MultipleErrors(
          `Kafka does not hand out partition ${partitions} of ${topic}.`,
          failed.map(({ errorCode }) => brokerError(errorCode)),
        );
      }
      return answers.map(({ errorCode: _, ...slice }) => slice);
    });
  }

  /**
   * The record at an offset; undefined where the log has none, or not any more.
   *
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async recordAt(
    topic: string,
    position: { partition: number; offset: number },
    call: LogCallOptions = {},
  ): Promise<FetchedRecord | undefined> {
    try {
      const [slice] = await this.read(topic, [position], { ...call, maxBytesPerPartition: 1 });
      return slice?.records.find(({ offset }) => offset === position.offset);
    } catch (error) {
      // A partition that does not exist, too.
      if (error instanceof OffsetOutOfRangeError || error instanceof RangeError) return undefined;
      throw error;
    }
  }

  async #fetch(
    topic: string,
    positions: readonly { partition: number; offset: number }[],
    options: LogReadOptions,
    renew: boolean,
  ): Promise<(PartitionSlice & { errorCode: number })[]> {
    const { id, partitions } = await this.#topic(topic, renew);
    const byLeader = new Map<number, { partition: number; offset: number }[]>();
    for (const position of positions) {
      const leader = partitions[position.partition]?.leader;
      if (leader === undefined) throw new RangeError(`Partition ${position.partition} of ${topic} does not exist.`);
      if (leader < 0) throw new LeaderUnknownError(`Partition ${position.partition} of ${topic} has no leader.`);
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), position]);
    }
    const answers = await Promise.all(
      [...byLeader].map(([leader, wanted]) =>
        fetchBatches(this.#consumer, leader, { topic, topicId: id, positions: wanted, ...options }),
      ),
    );
    return answers.flat().map(({ errorCode, endOffset, ...fetched }) => ({
      errorCode,
      endOffset,
      topicId: id,
      partition: fetched.partition,
      ...recordsOf(fetched),
    }));
  }

  /**
   * Everything of a topic's partition from an offset, or the begin of the log, to its end at the time of the call, in
   * order.
   *
   * @throws {OffsetOutOfRangeError} when the position is outside of the log.
   * @throws {UnknownTopicError}
   * @throws {LogUnavailableError}
   */
  async *readToEnd(
    topic: string,
    partition: number,
    from: number | 'begin',
    call: LogCallOptions = {},
  ): AsyncGenerator<FetchedRecord> {
    const bound = (await this.bounds(topic, call))[partition];
    if (bound === undefined) throw new RangeError(`Partition ${partition} of ${topic} does not exist.`);
    let offset = from === 'begin' ? bound.beginOffset : from;
    while (offset < bound.endOffset) {
      const [slice] = await this.read(topic, [{ partition, offset }], { ...call, maxWaitMs: 500 });
      if (slice === undefined) return;
      yield* slice.records;
      offset = slice.nextOffset;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#consumer.close();
  }

  /** Makes attempts until one succeeds, fails for good, or there is no time left; later ones with renewed metadata. */
  async #persist<T>(
    topic: string,
    { retryForMs = this.#retryForMs, signal }: LogCallOptions,
    attempt: (renew: boolean) => Promise<T>,
  ): Promise<T> {
    const begun = performance.now();
    for (let attempts = 1; ; attempts++) {
      try {
        signal?.throwIfAborted();
        const outcome = attempt(attempts > 1).then((value) => ({ value }));
        const ended = signal === undefined ? await outcome : await unlessAborted(outcome, signal);
        if (ended !== undefined) return ended.value;
      } catch (error) {
        if (signal?.aborted === true || this.#closing.signal.aborted || !isPassing(error)) throw error;
        const triedMs = performance.now() - begun;
        const waitMs = Math.min(retryForMs - triedMs, backoffMs(attempts - 1, FIRST_PAUSE_MS, LONGEST_PAUSE_MS));
        if (waitMs > 0) {
          const { signal: closing } = this.#closing;
          await pause(waitMs, signal === undefined ? closing : AbortSignal.any([closing, signal]));
          if (!closing.aborted) continue;
        }
        throw new LogUnavailableError(topic, triedMs, attempts, { cause: error });
      }
    }
  }

  /** Indexes of a topic's partitions, all of which have a leader whose address is known. */
  async #ledPartitions(topic: string, renew: boolean): Promise<number[]> {
    const { partitions, brokers } = await this.#topic(topic, renew);
    return Array.from(partitions, ({ leader }, index) => {
      // The client does not look.
      if (!brokers.has(leader)) throw new LeaderUnknownError(`Partition ${index} of ${topic} has no leader.`);
      return index;
    });
  }

  async #listOffsets(
    topic: string,
    indexes: number[],
    what: { timestamp: bigint; isolationLevel?: 0 | 1 },
  ): Promise<(bigint | undefined)[]> {
    try {
      const found = await this.#consumer.listOffsets({ topics: [topic], partitions: { [topic]: indexes }, ...what });
      return indexes.map((index) => found.get(topic)?.[index]);
    } catch (error) {
      // The metadata that is kept may name a topic that was deleted meanwhile, or a broker that has it no more.
      if (isUnknownTopic(error)) await this.#topic(topic, true);
      throw error;
    }
  }

  async #topic(topic: string, forceUpdate: boolean) {
    try {
      const { topics, brokers } = await this.#consumer.metadata({ topics: [topic], forceUpdate });
      const found = topics.get(topic);
      if (found !== undefined) return { ...found, brokers };
    } catch (error) {
      if (!isUnknownTopic(error)) throw error;
      throw new UnknownTopicError(topic, { cause: error });
    }
    throw new UnknownTopicError(topic);
  }
}

/** The broker says so by code; the client, which asked for several topics at once, by a user error. */
function isUnknownTopic(error: unknown): boolean {
  return [...withCauses(error)].some((one) => {
    const { apiId, code } = one as { apiId?: string; code?: string };
    return apiId === 'UNKNOWN_TOPIC_OR_PARTITION' || code === 'PLT_KFK_USER';
  });
}
