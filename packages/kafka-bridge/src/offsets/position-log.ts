import { createHash } from 'node:crypto';
import { z } from 'zod';
import { rootMessages } from '../async/causes.js';
import type { KafkaConnection } from '../kafka/kafka-connection.js';
import { parseJsonRecord } from '../kafka/json-record.js';
import { sendKeyed } from '../kafka/keyed-records.js';
import { UnknownTopicError, type LogCallOptions, type LogReader } from '../kafka/log-reader.js';
import { ReplaceableProducer } from '../kafka/replaceable-producer.js';
import type { TopicOffsets } from '../routing/routing-state.js';

/**
 * Kafka topic (compacted, one partition) of where groups that consume from OwlMQ would go on in Kafka. It is what a way
 * back goes by when OwlMQ is dead.
 */
export const POSITIONS_TOPIC = 'owlmq-bridge.positions';

const positionRecordSchema = z.strictObject({
  version: z.literal(1),
  migration: z.string(),
  group: z.string(),
  /** Which of the partitions these are, for the key: a watch may be shared by several. */
  part: z.string(),
  /** Which cutover they follow, see `cutoverId`: positions of an earlier one would be far behind. */
  cutover: z.string(),
  positions: z.array(z.tuple([z.string(), z.int().nonnegative(), z.int().nonnegative()])),
  /** ISO time of the look at OwlMQ's commits, by the worker's clock. */
  at: z.string(),
});
type PositionRecord = z.infer<typeof positionRecordSchema>;

/** Where a group would go on in Kafka. */
export interface KafkaPosition {
  group: string;
  topic: string;
  partition: number;
  offset: number;
}

/** What is known of a migration's groups. */
export interface LastPositions {
  /** Of each group and partition the highest that was noted; none was ever above the true one. */
  positions: KafkaPosition[];
  /** ISO time of the oldest of the last notes: all groups were at least there then. Undefined without notes. */
  at: string | undefined;
}

/** The positions could not be written: a way back without OwlMQ would go by older ones. */
class PositionsNotWrittenError extends Error {
  override readonly name = 'PositionsNotWrittenError';
}

const WRITE_TIMEOUT_MS = 5_000;

/** Names a cutover by the Kafka offsets of its fence. */
export function cutoverId(fence: TopicOffsets): string {
  const topics = Object.entries(fence).sort(([one], [other]) => (one < other ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(topics)).digest('base64url').slice(0, 16);
}

/** Writes where groups would go on in Kafka, again and again while OwlMQ answers. */
export class PositionWriter {
  readonly #options: { migration: string; cutover: string; part: string; onError: (error: Error) => void };
  readonly #producer: ReplaceableProducer;

  constructor(options: {
    connection: KafkaConnection;
    clientId: string;
    migration: string;
    /** See `cutoverId`. */
    cutover: string;
    /** Name of the partitions that are looked at. */
    part: string;
    /** Told of each write that failed. */
    onError: (error: Error) => void;
  }) {
    this.#options = options;
    this.#producer = new ReplaceableProducer(options);
  }

  /** Never rejects, and is bounded in time. */
  async write(positions: readonly KafkaPosition[], at: Date): Promise<void> {
    const { migration, cutover, part, onError } = this.#options;
    const groups = new Map<string, PositionRecord>();
    for (const { group, topic, partition, offset } of positions) {
      const head = { version: 1 as const, migration, group, part, cutover, at: at.toISOString() };
      const record = groups.get(group) ?? { ...head, positions: [] };
      record.positions.push([topic, partition, offset]);
      groups.set(group, record);
    }
    const records = [...groups.values()].map((record) => ({
      key: JSON.stringify([migration, record.group, part]),
      value: JSON.stringify(record),
    }));
    try {
      await sendKeyed(this.#producer, POSITIONS_TOPIC, records, WRITE_TIMEOUT_MS);
    } catch (error) {
      this.#producer.abandon();
      const problem = `Positions of the groups cannot be written to ${POSITIONS_TOPIC}: ${rootMessages(error).join('; ')}`;
      onError(new PositionsNotWrittenError(problem, { cause: error }));
    }
  }

  async close(): Promise<void> {
    await this.#producer.close();
  }
}

/**
 * Reads where the groups of a migration would go on in Kafka.
 *
 * @param cutover which cutover they must follow; by default the one that was noted last.
 * @throws {LogUnavailableError}
 */
export async function readLastPositions(
  reader: LogReader,
  migration: string,
  cutover?: string,
  call: LogCallOptions = {},
): Promise<LastPositions> {
  const records: PositionRecord[] = [];
  try {
    for await (const { value } of reader.readToEnd(POSITIONS_TOPIC, 0, 'begin', call)) {
      const record = parseJsonRecord(positionRecordSchema, value);
      if (record?.migration === migration) records.push(record);
    }
  } catch (error) {
    if (!(error instanceof UnknownTopicError)) throw error;
  }
  const wanted = cutover ?? records.at(-1)?.cutover;
  const last = new Map<string, PositionRecord>();
  const noted: KafkaPosition[] = [];
  for (const record of records) {
    if (record.cutover !== wanted) continue;
    const { group, part } = record;
    last.set(JSON.stringify([group, part]), record);
    for (const [topic, partition, offset] of record.positions) noted.push({ group, topic, partition, offset });
  }
  const [oldest] = [...last.values()].map(({ at }) => at).sort();
  return { positions: furthest(noted), at: oldest };
}

/**
 * How many records of Kafka lie behind positions: no more messages come again when groups go on there. A position that
 * the log does not hold, since retention has passed it or the topic was made anew, is moved to where the log begins:
 * consumers would go on by their `auto.offset.reset` there, and might skip.
 *
 * @throws {UnknownTopicError}
 * @throws {LogUnavailableError}
 */
export async function withRecordsBehind(
  reader: LogReader,
  positions: readonly KafkaPosition[],
): Promise<(KafkaPosition & { behind: number })[]> {
  const topics = new Map<string, { begins: number[]; ends: number[] }>();
  for (const topic of new Set(positions.map((position) => position.topic))) {
    const begins = (await reader.bounds(topic)).map(({ beginOffset }) => beginOffset);
    // What lies behind an open transaction comes, too.
    topics.set(topic, { begins, ends: await reader.highWatermarks(topic) });
  }
  return positions.map((position) => {
    const { topic, partition } = position;
    const begin = topics.get(topic)?.begins[partition] ?? 0;
    const end = topics.get(topic)?.ends[partition] ?? 0;
    const offset = position.offset > end ? begin : Math.max(position.offset, begin);
    return { ...position, offset, behind: end - offset };
  });
}

/** Of each group and partition the highest: none of them is above what the group has consumed. */
export function furthest(positions: readonly KafkaPosition[]): KafkaPosition[] {
  const highest = new Map<string, KafkaPosition>();
  for (const position of positions) {
    const key = JSON.stringify([position.group, position.topic, position.partition]);
    if (position.offset >= (highest.get(key)?.offset ?? 0)) highest.set(key, position);
  }
  return [...highest.values()];
}
