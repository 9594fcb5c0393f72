import { createRequire } from 'node:module';
import { Reader, readRecordsBatch } from '@platformatic/kafka';
import fc from 'fast-check';
import { CompressionTypes, Kafka, logLevel, type Message } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { LogReader } from '../src/kafka/log-reader.js';
import { encodeFast } from '../src/kafka/produce-encoder.js';
import { RecordBatch } from '../src/kafka/record-batch.js';
import { ReplaceableProducer } from '../src/kafka/replaceable-producer.js';
import { DualPublisher } from '../src/publisher/dual-publisher.js';
import { testBrokers, uniqueName } from './publisher-fixture.js';

const seed = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'binary', maxLength: 100 });
const contents = fc.oneof(bytes, text);
const headers = fc.dictionary(
  fc.oneof(fc.string({ maxLength: 12 }), text),
  fc.oneof(contents, fc.array(contents, { maxLength: 3 })),
  { maxKeys: 5, noNullPrototype: true },
);
const messages: fc.Arbitrary<Message[]> = fc.array(
  fc.record({
    key: fc.oneof(fc.constant(null), contents),
    value: fc.oneof(fc.constant(null), contents),
    headers,
    timestamp: fc.integer({ min: 0, max: 4_000_000_000_000 }).map(String),
  }),
  { minLength: 1, maxLength: 40 },
);

const asBytes = (value: Buffer | string | null | undefined): Buffer | null =>
  value === null || value === undefined ? null : Buffer.from(value);

/** Headers as pairs, in their order. */
function pairs(message: Pick<Message, 'headers'>): [string, string][] {
  return Object.entries(message.headers ?? {}).flatMap(([name, given]) =>
    (Array.isArray(given) ? given : [given]).map((value): [string, string] => [
      Buffer.from(name).toString('hex'),
      asBytes(value)?.toString('hex') ?? '',
    ]),
  );
}

describe('RecordBatch', () => {
  it('is read back by another client as what was written, to the byte that was promised', () => {
    console.info(`seed ${seed}`);
    fc.assert(
      fc.property(messages, fc.nat(), (given, sequence) => {
        const batch = new RecordBatch(given);
        const buffer = Buffer.alloc(batch.bytes + 7, 0xee);
        expect(batch.write(buffer, 7, { id: 12n, epoch: 3, sequence })).toBe(buffer.length);
        const read = readRecordsBatch(Reader.from(buffer.subarray(7)));
        const first = Number(given[0]?.timestamp);
        expect(read).toMatchObject({ magic: 2, attributes: 0, producerId: 12n, producerEpoch: 3 });
        expect(read.firstSequence).toBe(sequence);
        expect(Number(read.firstTimestamp)).toBe(first);
        expect(Number(read.maxTimestamp)).toBe(Math.max(...given.map(({ timestamp }) => Number(timestamp))));
        expect(read.lastOffsetDelta).toBe(given.length - 1);
        expect(read.records).toHaveLength(given.length);
        for (const [index, message] of given.entries()) {
          const record = read.records[index];
          expect(record?.offsetDelta).toBe(index);
          expect(first + Number(record?.timestampDelta)).toBe(Number(message.timestamp));
          expect(record?.key ?? null).toStrictEqual(asBytes(message.key));
          expect(record?.value ?? null).toStrictEqual(asBytes(message.value));
          const found = record?.headers.map(([name, value]) => [name?.toString('hex'), value?.toString('hex')]);
          expect(found).toStrictEqual(pairs(message));
        }
      }),
      { seed, numRuns: 1_000 },
    );
  });

  it('carries the checksum that kafkajs would have written', () => {
    const crc32C = createRequire(import.meta.url)('kafkajs/src/protocol/recordBatch/crc32C') as (of: Buffer) => number;
    fc.assert(
      fc.property(messages, (given) => {
        const batch = new RecordBatch(given);
        const buffer = Buffer.alloc(batch.bytes);
        batch.write(buffer, 0, { id: -1n, epoch: 0, sequence: 0 });
        expect(buffer.readUInt32BE(17)).toBe(crc32C(buffer.subarray(21)));
      }),
      { seed, numRuns: 200 },
    );
  });
});

describe('encodeFast', () => {
  const brokers = testBrokers();
  const topic = uniqueName('encoded');
  const reader = new LogReader({ brokers }, { clientId: 'encoder-test' });

  beforeAll(async () => {
    const admin = new ClusterAdmin({ brokers }, { clientId: 'encoder-test' });
    await admin.createTopic(topic, { partitions: 3 });
    await admin.close();
  });

  afterAll(async () => {
    await reader.close();
  });

  async function stored(): Promise<Map<string, number>> {
    const values = new Map<string, number>();
    for (let partition = 0; partition < 3; partition++) {
      for await (const { value } of reader.readToEnd(topic, partition, 0)) {
        const name = value?.toString() ?? '';
        values.set(name, (values.get(name) ?? 0) + 1);
      }
    }
    return values;
  }

  const some = (name: string): Message[] =>
    Array.from({ length: 100 }, (_, index) => ({
      key: `key-${index}`,
      value: `${name}-${index}`,
      partition: index % 3,
      headers: { a: 'ä', b: ['1', '2'] },
    }));

  it.each([
    ['idempotent', { producer: { idempotent: true } }],
    ['not idempotent', { producer: { idempotent: false } }],
  ])('is what a broker takes from our producers, once each (%s)', async (name, options) => {
    const write = vi.spyOn(RecordBatch.prototype, 'write');
    const producer = new ReplaceableProducer({ connection: { brokers }, clientId: 'encoder-test', ...options });
    try {
      for (const part of ['x', 'y', 'z']) {
        const batch = { topicMessages: [{ topic, messages: some(`${name} ${part}`) }] };
        const answers = await producer.sendBatch(batch, 10_000);
        expect(answers).toHaveLength(3);
      }
      // One batch a partition and send, more where one was repeated. None: kafkajs is another version, and wrote them with
      // its own encoder.
      expect(write.mock.calls.length).toBeGreaterThanOrEqual(9);
    } finally {
      write.mockRestore();
      await producer.close();
    }
    const values = await stored();
    for (const part of ['x', 'y', 'z']) {
      for (const { value } of some(`${name} ${part}`)) expect(values.get(String(value))).toBe(1);
    }
  });

  it('leaves compression, and clients that it was not told of, to kafkajs', async () => {
    const write = vi.spyOn(RecordBatch.prototype, 'write');
    const told = new ReplaceableProducer({ connection: { brokers }, clientId: 'encoder-test' });
    const other = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer();
    try {
      const compression = CompressionTypes.GZIP;
      await told.sendBatch({ topicMessages: [{ topic, messages: some('gzip') }], compression }, 10_000);
      await other.connect();
      await other.send({ topic, messages: some('other') });
      expect(write).not.toHaveBeenCalled();
    } finally {
      write.mockRestore();
      await Promise.all([told.close(), other.disconnect()]);
    }
    const values = await stored();
    for (const name of ['gzip', 'other']) {
      for (const { value } of some(name)) expect(values.get(String(value))).toBe(1);
    }
  });

  it('is not in the way of the compression and acks that a DualPublisher was given', async () => {
    const sendBatch = vi.spyOn(ReplaceableProducer.prototype, 'sendBatch');
    const publisher = new DualPublisher({ kafka: { brokers }, compression: CompressionTypes.GZIP, acks: 1 });
    try {
      await publisher.publish(topic, 'compressed', { partition: 0 });
      const [request] = sendBatch.mock.lastCall ?? [];
      expect(request).toMatchObject({ compression: CompressionTypes.GZIP, acks: 1 });
    } finally {
      sendBatch.mockRestore();
      await publisher.close();
    }
    expect((await stored()).get('compressed')).toBe(1);
  });

  it('changes nothing of a client that is not as expected', () => {
    const strange = { producer: () => 'a producer' };
    encodeFast(strange as unknown as Kafka);
    expect(Object.getOwnPropertySymbols(strange)).toStrictEqual([]);
    expect(strange.producer()).toBe('a producer');
  });
});
