import { Consumer } from '@platformatic/kafka';
import { groupHeaders } from '../message/headers.js';
import { directClientOptions, type KafkaConnection } from './kafka-connection.js';

/** A record of a Kafka partition, as bytes. */
export interface LogRecord {
  topic: string;
  partition: number;
  offset: number;
  /** Unix ms. */
  timestamp: number;
  key: Buffer | null;
  value: Buffer | null;
  /** By name; a name that came several times has a list, in the record's order. Null values are empty here. */
  headers: Record<string, Buffer | Buffer[]>;
}

/** Begin and end of a partition. `endOffset` is the last stable offset: open transactions are not passed. */
export interface PartitionBounds {
  partition: number;
  beginOffset: number;
  endOffset: number;
}

/** What one fetch found in one partition. */
export interface PartitionSlice {
  partition: number;
  records: LogRecord[];
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

type FetchResponse = Awaited<ReturnType<Consumer['fetch']>>;

const REQUEST_MARGIN_MS = 10_000;

/**
 * Reads partitions of Kafka without a consumer group, so that nothing is left behind on the cluster, and tells apart
 * "no records yet" and "the end was reached", which leases and fences depend on.
 *
 * Fetches are read-committed. One reader may be used for several topics; calls may run side by side.
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
    const [begin, end] = await Promise.all([
      this.#consumer.listOffsets({ topics: [topic], partitions, timestamp: -2n }),
      this.#consumer.listOffsets({ topics: [topic], partitions, timestamp: -1n, isolationLevel: 1 }),
    ]);
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
    try {
      return await this.#read(topic, positions, options, false);
    } catch (error) {
      const failed = failedPartitions(error);
      if (failed === undefined) throw error;
      if (failed.outOfRange.length > 0) throw new OffsetOutOfRangeError(topic, failed.outOfRange, { cause: error });
      // Leaders moved since the metadata was read: look again, once.
      return await this.#read(topic, positions, options, true);
    }
  }

  async #read(
    topic: string,
    positions: readonly { partition: number; offset: number }[],
    options: LogReadOptions,
    refresh: boolean,
  ): Promise<PartitionSlice[]> {
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
      [...byLeader].map(async ([node, wanted]) => {
        const response = await this.#consumer.fetch({
          node,
          maxWaitTime: options.maxWaitMs ?? 0,
          minBytes: 1,
          maxBytes: 32 * 1024 * 1024,
          isolationLevel: 1,
          topics: [
            {
              topicId: id,
              partitions: wanted.map(({ partition, offset }) => ({
                partition,
                fetchOffset: BigInt(offset),
                currentLeaderEpoch: -1,
                lastFetchedEpoch: -1,
                partitionMaxBytes: options.maxBytesPerPartition ?? 1024 * 1024,
              })),
            },
          ],
        });
        return slices(topic, id, wanted, response);
      }),
    );
    return answers.flat();
  }

  /**
   * Everything of a topic's partition from an offset to its end at the time of the call, in order.
   *
   * @throws {OffsetOutOfRangeError} when the position is outside of the log.
   */
  async *readToEnd(topic: string, partition: number, from: number): AsyncGenerator<LogRecord> {
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

const IS_CONTROL = 0b10_0000;

function slices(
  topic: string,
  topicId: string,
  wanted: readonly { partition: number; offset: number }[],
  response: FetchResponse,
): PartitionSlice[] {
  const from = new Map(wanted.map(({ partition, offset }) => [partition, offset]));
  return response.responses.flatMap((answer) =>
    answer.partitions.map((data) => {
      const start = from.get(data.partitionIndex) ?? 0;
      const records: LogRecord[] = [];
      let nextOffset = start;
      for (const batch of data.records ?? []) {
        const first = Number(batch.firstOffset);
        nextOffset = Math.max(nextOffset, first + batch.lastOffsetDelta + 1);
        if ((batch.attributes & IS_CONTROL) !== 0) continue;
        for (const record of batch.records) {
          const offset = first + record.offsetDelta;
          // A batch is sent whole: its first records may be before the position.
          if (offset < start) continue;
          records.push({
            topic,
            partition: data.partitionIndex,
            offset,
            timestamp: Number(batch.firstTimestamp + record.timestampDelta),
            key: record.key,
            value: record.value,
            headers: groupHeaders(
              Array.from(record.headers, ([name, value]) => [name?.toString() ?? '', value ?? Buffer.alloc(0)]),
            ),
          });
        }
      }
      return { partition: data.partitionIndex, records, nextOffset, endOffset: Number(data.lastStableOffset), topicId };
    }),
  );
}

interface ResponseErrorShape {
  errors?: { apiId?: string; path?: string }[];
  response?: FetchResponse;
}

const OFFSET_OUT_OF_RANGE = 1;

function failedPartitions(error: unknown): { outOfRange: number[] } | undefined {
  const response = findInCauses(error, (candidate) => (candidate as ResponseErrorShape).response);
  if (response?.responses === undefined) return undefined;
  const outOfRange = response.responses.flatMap((topic) =>
    topic.partitions.filter((data) => data.errorCode === OFFSET_OUT_OF_RANGE).map((data) => data.partitionIndex),
  );
  return { outOfRange };
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
