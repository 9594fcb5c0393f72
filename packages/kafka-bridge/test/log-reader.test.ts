import { createHash, randomBytes } from 'node:crypto';
import { CompressionTypes, ConfigResourceTypes, type Message, type Producer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Legs } from './audit-legs.js';
import { seeded } from './consumer-harness.js';

/** A record in a form that is quick to compare. */
function shown({
  key,
  value,
  timestamp,
  headers,
}: Pick<Message, 'key' | 'value' | 'headers'> & { timestamp?: unknown }) {
  const digest = (part: unknown): string | null =>
    Buffer.isBuffer(part) ? createHash('sha256').update(part).digest('hex') : null;
  const named = Object.entries(headers ?? {}).map(([name, one]) => [name, [one].flat().map(digest)]);
  return { key: digest(key), value: digest(value), timestamp: String(timestamp), headers: named };
}

describe('LogReader on a real broker', () => {
  let legs: Legs;
  const producers: Producer[] = [];
  beforeAll(async () => {
    legs = await Legs.start();
  });
  afterAll(async () => {
    await Promise.all(producers.map((producer) => producer.disconnect()));
    await legs.stop();
  });

  async function read(topic: string, from = 0) {
    const values: string[] = [];
    for await (const { offset, value } of legs.reader.readToEnd(topic, 0, from)) {
      values.push(`${offset} ${value?.toString() ?? 'null'}`);
    }
    return values;
  }

  /** The end of a transaction is written after its commit was answered. */
  async function untilEnd(topic: string, end: number): Promise<void> {
    await expect.poll(() => legs.reader.ends(topic), { timeout: 20_000 }).toEqual([end]);
  }

  async function transactional(): Promise<Producer> {
    const producer = legs.kafka.producer({
      transactionalId: `tx-${randomBytes(6).toString('hex')}`,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    producers.push(producer);
    await producer.connect();
    return producer;
  }

  it('hands out neither aborted records nor control records, from any position', async () => {
    const topic = await legs.topic();
    const [one, other] = [await transactional(), await transactional()];
    const plain = (value: string) => legs.producer.send({ topic, messages: [{ value }] });
    await plain('a');
    const aborted = await one.transaction();
    const committed = await other.transaction();
    await aborted.send({ topic, messages: [{ value: 'aborted 1' }, { value: 'aborted 2' }] });
    await committed.send({ topic, messages: [{ value: 'b' }] });
    await plain('c');
    await aborted.send({ topic, messages: [{ value: 'aborted 3' }] });
    await committed.commit();
    await aborted.abort();
    // The same producer again: the aborted transaction before it must not take this one along.
    const again = await one.transaction();
    await again.send({ topic, messages: [{ value: 'd' }] });
    await again.commit();
    await plain('e');

    const end = 11;
    await untilEnd(topic, end);
    const all = await read(topic);
    expect(all.map((line) => line.split(' ').slice(1).join(' '))).toEqual(['a', 'b', 'c', 'd', 'e']);
    for (let from = 0; from <= end; from++) {
      expect(await read(topic, from), `from ${from}`).toEqual(all.filter((line) => Number(line.split(' ')[0]) >= from));
    }
    const [slice] = await legs.reader.read(topic, [{ partition: 0, offset: 0 }], { maxWaitMs: 100 });
    expect(slice).toMatchObject({ nextOffset: end, endOffset: end });
  });

  it('does not pass what an open transaction may still commit', async () => {
    const topic = await legs.topic();
    const producer = await transactional();
    const open = await producer.transaction();
    await open.send({ topic, messages: [{ value: 'open' }] });
    await legs.producer.send({ topic, messages: [{ value: 'behind' }] });
    const [slice] = await legs.reader.read(topic, [{ partition: 0, offset: 0 }]);
    expect(slice).toMatchObject({ records: [], nextOffset: 0, endOffset: 0 });
    await open.commit();
    await untilEnd(topic, 3);
    expect(await read(topic)).toEqual(['0 open', '1 behind']);
  });

  it('has the times of the broker where the topic says so', async () => {
    const topic = await legs.topic();
    await legs.admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: ConfigResourceTypes.TOPIC,
          name: topic,
          configEntries: [{ name: 'message.timestamp.type', value: 'LogAppendTime' }],
        },
      ],
    });
    const before = Date.now();
    await legs.producer.send({ topic, messages: [{ value: 'x', timestamp: '1000' }] });
    const [record] = await legs.kafkaRecords(topic);
    expect(record?.timestamp).toBeGreaterThanOrEqual(before - 1_000);
  });

  it('begins where retention has left off', async () => {
    const topic = await legs.topic();
    await legs.producer.send({ topic, messages: Array.from({ length: 10 }, (_, index) => ({ value: String(index) })) });
    await legs.retain(topic, 4);
    expect(await read(topic, 4)).toEqual(['4 4', '5 5', '6 6', '7 7', '8 8', '9 9']);
  });

  it('reads back what was written: nulls, empty parts, repeated and long headers, large records, gzip', async () => {
    const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const random = seeded(seed);
    const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;
    const bytes = () => randomBytes(pick([0, 1, 63, 64, 127, 128, 5_000, 100_000]));
    const topic = await legs.topic();
    const written: Message[] = Array.from({ length: 40 }, () => ({
      key: pick([null, bytes()]),
      value: pick([null, bytes()]),
      timestamp: String(Date.now() - Math.floor(random() * 1e6)),
      headers: Object.fromEntries(
        Array.from({ length: pick([0, 1, 5]) }, (_, index) => [
          `h${index}-${'ü'.repeat(20 * index)}`,
          pick<Buffer | Buffer[]>([
            randomBytes(pick([0, 1, 200])),
            [Buffer.from('a'), Buffer.alloc(0), Buffer.from('a')],
          ]),
        ]),
      ),
    }));
    for (const [index, message] of written.entries()) {
      const compression = index % 3 === 0 ? CompressionTypes.GZIP : CompressionTypes.None;
      await legs.producer.send({ topic, compression, messages: [message] });
    }
    const read = await legs.kafkaRecords(topic);
    expect(read.map(shown), `SEED=${seed}`).toEqual(written.map(shown));
  });
});
