import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel, type Admin, type Producer } from 'kafkajs';
import { vi } from 'vitest';
import { startOwlmqLocal, type OwlmqLocal } from '../../owlmq-local/src/index.js';
import type { KafkaConnection } from '../src/kafka/kafka-connection.js';
import { LogReader } from '../src/kafka/log-reader.js';
import type { LogRecord } from '../src/kafka/log-record.js';
import { formatPosition, HEADER } from '../src/message/headers.js';
import type { OwlmqStoredRecord } from '../src/owlmq/owlmq-api.js';
import { OwlmqClient } from '../src/owlmq/owlmq-client.js';

/** A message of a test. What is left out is as a publisher at ratio 1 writes it. */
export interface TestMessage {
  id: string;
  key?: string;
  partition?: number;
  copied?: boolean;
  /** Message time; default a minute ago, which is older than any grace of the tests. */
  time?: number;
  /** Without any header of the library. */
  foreign?: boolean;
  /** On OwlMQ its header names this offset of Kafka as where it came from, whatever is true. */
  forged?: number;
}

/** Both legs for real: the broker of KAFKA_BROKERS, or the given one, and an owlmq-local of its own on a free port. */
export class Legs {
  static async start(brokers = process.env['KAFKA_BROKERS']?.split(',')): Promise<Legs> {
    if (brokers === undefined) throw new Error('Set KAFKA_BROKERS to the brokers of a test cluster.');
    const folder = await mkdtemp(join(tmpdir(), 'audit-legs-'));
    const server = await startOwlmqLocal({ data: folder, apiKeys: ['test-key'] });
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
    const legs = new Legs({ brokers }, folder, server, kafka);
    await Promise.all([legs.admin.connect(), legs.producer.connect()]);
    return legs;
  }

  readonly admin: Admin;
  readonly producer: Producer;
  readonly owlmq: OwlmqClient;
  readonly reader: LogReader;
  readonly #topics: string[] = [];
  /** Where messages are in Kafka, by topic and id. */
  readonly #kafkaOffsets = new Map<string, number>();

  private constructor(
    readonly connection: KafkaConnection,
    readonly folder: string,
    readonly server: OwlmqLocal,
    readonly kafka: Kafka,
  ) {
    this.admin = kafka.admin();
    this.producer = kafka.producer({ allowAutoTopicCreation: false });
    this.owlmq = new OwlmqClient({ url: server.url, apiKey: 'test-key' });
    this.reader = new LogReader(connection, { clientId: 'audit-test' });
  }

  async stop(): Promise<void> {
    if (this.#topics.length > 0) await this.admin.deleteTopics({ topics: this.#topics });
    await Promise.all([this.admin.disconnect(), this.producer.disconnect(), this.reader.close(), this.owlmq.close()]);
    await this.server.close();
    await rm(this.folder, { recursive: true });
  }

  /** A topic of its own on both legs. */
  async topic(partitions = 1): Promise<string> {
    const topic = `audit-test-${randomUUID()}`;
    // kafkajs's own wait for leaders gives up at a broker that does not know the topic yet.
    await this.admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: false });
    await vi.waitFor(() => this.reader.bounds(topic), { timeout: 15_000 });
    await this.owlmq.createTopic(topic, partitions);
    this.#topics.push(topic);
    return topic;
  }

  /** Writes to Kafka, in order; returns the offsets. `sources` are the OwlMQ offsets of messages written there first. */
  async toKafka(topic: string, messages: TestMessage[], sources?: (number | undefined)[]): Promise<number[]> {
    const offsets = new Array<number>(messages.length).fill(-1);
    const indexes = new Map<number, number[]>();
    for (const [index, { partition = 0 }] of messages.entries()) {
      const places = indexes.get(partition);
      if (places === undefined) indexes.set(partition, [index]);
      else places.push(index);
    }
    for (const [partition, places] of indexes) {
      for (let start = 0; start < places.length; start += 1_000) {
        const batch = places.slice(start, start + 1_000);
        const [written] = await this.producer.send({
          topic,
          acks: -1,
          messages: batch.flatMap((index) => {
            const message = messages[index];
            if (message === undefined) return [];
            const headers = { ...headersOf(message), ...sourceHeader('owlmq', partition, sources?.[index]) };
            return {
              partition,
              key: message.key ?? null,
              value: valueOf(message),
              timestamp: String(timeOf(message)),
              headers: message.foreign === true ? {} : headers,
            };
          }),
        });
        for (const [nth, index] of batch.entries()) {
          const offset = Number(written?.baseOffset) + nth;
          offsets[index] = offset;
          const name = `${topic}/${messages[index]?.id ?? ''}`;
          if (!this.#kafkaOffsets.has(name)) this.#kafkaOffsets.set(name, offset);
        }
      }
    }
    return offsets;
  }

  /** Writes to OwlMQ, in order; returns the offsets. Those that were written to Kafka before are copies. */
  async toOwlmq(topic: string, messages: TestMessage[]): Promise<number[]> {
    const results = await this.owlmq.publish(
      topic,
      messages.map((message) => {
        const { id, partition = 0 } = message;
        const source = message.forged ?? this.#kafkaOffsets.get(`${topic}/${id}`);
        const headers = { ...headersOf(message), ...sourceHeader('kafka', partition, source) };
        return {
          partition,
          id,
          key: message.key === undefined ? null : Buffer.from(message.key),
          value: Buffer.from(valueOf(message)),
          headers: Object.entries(headers).map(([name, value]): [string, Buffer] => [name, Buffer.from(value)]),
          timestamp: timeOf(message),
        };
      }),
    );
    return results.map((result) => {
      if (!result.ok) throw new Error(result.detail);
      return result.offset;
    });
  }

  /** Deletes the records of a Kafka partition before an offset, as retention does. */
  async retain(topic: string, offset: number, partition = 0): Promise<void> {
    // kafkajs finds no leader for a topic that it has no metadata of.
    await this.admin.fetchTopicOffsets(topic);
    await this.admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] });
  }

  async kafkaRecords(topic: string, partition = 0): Promise<LogRecord[]> {
    const begin = (await this.reader.bounds(topic))[partition]?.beginOffset ?? 0;
    const records: LogRecord[] = [];
    for await (const record of this.reader.readToEnd(topic, partition, begin)) records.push(record);
    return records;
  }

  async owlmqRecords(topic: string, partition = 0): Promise<OwlmqStoredRecord[]> {
    const records: OwlmqStoredRecord[] = [];
    for (;;) {
      const page = await this.owlmq.read(topic, partition, records.length, { maxRecords: 1_000 });
      if (page.records.length === 0) return records;
      records.push(...page.records);
    }
  }
}

/** Messages with keys that come again. */
export function messages(
  count: number,
  { ageMs = 60_000, ...options }: Omit<TestMessage, 'id' | 'time'> & { ageMs?: number } = {},
): TestMessage[] {
  const time = Date.now() - ageMs;
  return Array.from({ length: count }, (_, index) => ({ id: randomUUID(), key: `key-${index % 7}`, time, ...options }));
}

function headersOf({ id, copied = true }: TestMessage): Record<string, string> {
  return { [HEADER.id]: id, [HEADER.epoch]: '1', [HEADER.copied]: copied ? '1' : '0', custom: `of ${id}` };
}

function sourceHeader(leg: 'kafka' | 'owlmq', partition: number, offset: number | undefined): Record<string, string> {
  return offset === undefined ? {} : { [HEADER.source]: formatPosition({ leg, partition, offset }) };
}

function valueOf({ id }: TestMessage): string {
  return `value of ${id}`;
}

function timeOf({ time }: TestMessage): number {
  return time ?? Date.now() - 60_000;
}
