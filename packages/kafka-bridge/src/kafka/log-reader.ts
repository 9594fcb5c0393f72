import { setTimeout as delay } from 'node:timers/promises';
import { Consumer } from '@platformatic/kafka';
import { fetchBatches, isPassing } from './fetch-batches.js';
import { asError } from '../async/bounded.js';
import { directClientOptions, type KafkaConnection } from './kafka-connection.js';
import type { FetchedRecord } from './fetched-record.js';
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

export interface LogReadOptions {
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

/** Brokers answered a fetch with errors, and still did after a few attempts. */
class FetchFailedError extends Error {
  override readonly name = 'FetchFailedError';
  constructor(topic: string, failed: readonly { partition: number; errorCode: number }[]) {
    super(
      `Kafka does not hand out ${topic}: ` +
        failed.map(({ partition, errorCode }) => `partition ${partition}: error code ${errorCode}`).join(', '),
    );
  }
}

const REQUEST_MARGIN_MS = 10_000;
const RETRIES = 3;
const RETRY_MS = 200;
const OFFSET_OUT_OF_RANGE = 1;

/**
 * Reads partitions of Kafka without a consumer group, so that nothing is left behind on the cluster, and tells apart
 * "no records yet" and "the end was reached", which leases and fences depend on.
 *
 * Reads what is committed: neither records of open nor those of aborted transactions. One reader may be used for several topics; calls may run side by side.
 */
export class LogReader {
  readonly #consumer: Consumer;

  constructor(connection: KafkaConnection, options: { clientId: string; maxWaitMs?: number }) {
    this.#consumer = new Consumer({
      ...directClientOptions(connection, options.clientId),
      // Demanded by the client; no group is joined by fetches.
      groupId: `${options.clientId}-reads-without-group`,
      isolationLevel: 1,
      timeout: (options.maxWaitMs ?? 0) + REQUEST_MARGIN_MS,
      retries: 3,
      retryDelay: 200,
      metadataMaxAge: 30_000,
    });
  }

  /**
   * Number of partitions of a topic.
   *
   * @throws {UnknownTopicError}
   */
  async partitionCount(topic: string): Promise<number> {
    return (await this.#topic(topic, false)).partitions.length;
  }

  /**
   * Broker that leads each partition, by index, as metadata of at most 30 s ago has it; -1 for a partition without one.
   *
   * @throws {UnknownTopicError}
   */
  async leaders(topic: string): Promise<number[]> {
    const { partitions } = await this.#topic(topic, false);
    return Array.from(partitions, (partition) => partition.leader);
  }

  /**
   * Begin and end of every partition, by index.
   *
   * @throws {UnknownTopicError}
   */
  async bounds(topic: string): Promise<PartitionBounds[]> {
    const count = await this.partitionCount(topic);
    const partitions = { [topic]: Array.from({ length: count }, (_, index) => index) };
    const asked = Promise.all([
      this.#consumer.listOffsets({ topics: [topic], partitions, timestamp: -2n }),
      this.#consumer.listOffsets({ topics: [topic], partitions, timestamp: -1n, isolationLevel: 1 }),
    ]);
    const [begin, end] = await asked.catch((error: unknown) => {
      // The metadata that is kept may name a topic that was deleted meanwhile.
      throw isUnknownTopic(error) ? new UnknownTopicError(topic, { cause: error }) : asError(error);
    });
    return Array.from({ length: count }, (_, partition) => ({
      partition,
      beginOffset: Number(begin.get(topic)?.[partition] ?? 0n),
      endOffset: Number(end.get(topic)?.[partition] ?? 0n),
    }));
  }

  /** End offsets of every partition, by index. */
  async ends(topic: string): Promise<number[]> {
    return (await this.bounds(topic)).map((bound) => bound.endOffset);
  }

  /**
   * Offset of each partition's first record at or after a time (Unix ms), by index; the end offset where there is none.
   *
   * @throws {UnknownTopicError}
   */
  async offsetsForTime(topic: string, time: number): Promise<number[]> {
    const ends = await this.ends(topic);
    const partitions = { [topic]: ends.map((_, partition) => partition) };
    const found = await this.#consumer.listOffsets({ topics: [topic], partitions, timestamp: BigInt(time) });
    return ends.map((end, partition) => {
      const offset = Number(found.get(topic)?.[partition] ?? -1n);
      return offset < 0 ? end : offset;
    });
  }

  /**
   * One fetch from each given partition, one request a leader. Partitions without news have an empty slice.
   *
   * @throws {OffsetOutOfRangeError} when a position is outside of the log.
   * @throws {UnknownTopicError}
   */
  async read(
    topic: string,
    positions: readonly { partition: number; offset: number }[],
    options: LogReadOptions = {},
  ): Promise<PartitionSlice[]> {
    for (let attempt = 1; ; attempt++) {
      const answers = await this.#attempt(topic, positions, options, attempt > 1).catch((error: unknown) => {
        if (attempt > RETRIES || !isPassing(error)) throw error;
        return undefined;
      });
      const failed = answers?.filter(({ errorCode }) => errorCode !== 0) ?? [];
      if (answers !== undefined && failed.length === 0) {
        return answers.map(({ errorCode: _, ...slice }) => slice);
      }
      const outOfRange = failed.filter(({ errorCode }) => errorCode === OFFSET_OUT_OF_RANGE);
      if (outOfRange.length > 0) {
        throw new OffsetOutOfRangeError(
          topic,
          outOfRange.map(({ partition }) => partition),
        );
      }
      // Leaders moved, or a broker restarts.
      if (attempt > RETRIES) throw new FetchFailedError(topic, failed);
      await delay(RETRY_MS * attempt);
    }
  }

  async #attempt(
    topic: string,
    positions: readonly { partition: number; offset: number }[],
    options: LogReadOptions,
    refresh: boolean,
  ): Promise<(PartitionSlice & { errorCode: number })[]> {
    const { id, partitions } = await this.#topic(topic, refresh);
    const byLeader = new Map<number, { partition: number; offset: number }[]>();
    for (const position of positions) {
      const leader = partitions[position.partition]?.leader;
      if (leader === undefined || leader < 0) {
        throw new RangeError(`Partition ${position.partition} of ${topic} does not exist or has no leader.`);
      }
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
   * Everything of a topic's partition from an offset to its end at the time of the call, in order.
   *
   * @throws {OffsetOutOfRangeError} when the position is outside of the log.
   */
  async *readToEnd(topic: string, partition: number, from: number): AsyncGenerator<FetchedRecord> {
    const bound = (await this.bounds(topic))[partition];
    if (bound === undefined) throw new RangeError(`Partition ${partition} of ${topic} does not exist.`);
    let offset = from;
    while (offset < bound.endOffset) {
      const [slice] = await this.read(topic, [{ partition, offset }], { maxWaitMs: 500 });
      if (slice === undefined) return;
      yield* slice.records;
      offset = slice.nextOffset;
    }
  }

  async close(): Promise<void> {
    await this.#consumer.close();
  }

  async #topic(topic: string, forceUpdate: boolean) {
    try {
      const metadata = await this.#consumer.metadata({ topics: [topic], forceUpdate });
      const found = metadata.topics.get(topic);
      if (found !== undefined) return found;
    } catch (error) {
      if (!isUnknownTopic(error)) throw error;
      throw new UnknownTopicError(topic, { cause: error });
    }
    throw new UnknownTopicError(topic);
  }
}

/** The broker says so by code; the client, which asked for several topics at once, by a user error. */
function isUnknownTopic(error: unknown): boolean {
  const unknown = (candidate: object): true | undefined => {
    const { apiId, code } = candidate as { apiId?: string; code?: string };
    return apiId === 'UNKNOWN_TOPIC_OR_PARTITION' || code === 'PLT_KFK_USER' ? true : undefined;
  };
  return findInCauses(error, unknown) === true;
}

/** The first defined pick over an error, its causes and its aggregated errors. */
function findInCauses<T>(error: unknown, pick: (candidate: object) => T | undefined, depth = 0): T | undefined {
  if (typeof error !== 'object' || error === null || depth > 8) return undefined;
  const own = pick(error);
  if (own !== undefined) return own;
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  for (const inner of [cause, ...(Array.isArray(errors) ? (errors as unknown[]) : [])]) {
    const found = findInCauses(inner, pick, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
