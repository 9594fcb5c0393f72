import fc from 'fast-check';
import { Partitioners } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { HEADER } from '../src/message/headers.js';
import { murmur2 } from '../src/message/murmur2.js';
import { isCopied } from '../src/publisher/copy-decision.js';
import { kafkaMessage, newOutgoing, owlmqRecord, type PublishOptions } from '../src/publisher/outgoing.js';
import { partitionOfKey, RoundRobin } from '../src/publisher/partitioner.js';
import { PublishInputError } from '../src/publisher/publisher-errors.js';

const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));

describe('partitioner', () => {
  it('hashes as the Java client does', () => {
    // From UtilsTest of Apache Kafka.
    const vectors: [string, number][] = [
      ['21', -973932308],
      ['foobar', -790332482],
      ['a-little-bit-long-string', -985981536],
      ['a-little-bit-longer-string', -1486304829],
      ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ];
    for (const [key, hash] of vectors) expect(murmur2(Buffer.from(key))).toBe(hash);
  });

  it('chooses the partition that kafkajs chooses', () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 200 }), (key, partitions) => {
        const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
          ...{ partitionId, partitionErrorCode: 0, leader: 1, replicas: [1], isr: [1] },
        }));
        const theirs = Partitioners.DefaultPartitioner()({
          topic: 't',
          partitionMetadata,
          message: { key, value: null },
        });
        expect(partitionOfKey(key, partitions)).toBe(theirs);
      }),
    );
  });

  it('spreads messages without a key evenly', () => {
    const roundRobin = new RoundRobin();
    const chosen = Array.from({ length: 30 }, () => roundRobin.partition(3));
    for (const partition of [0, 1, 2]) expect(chosen.filter((other) => other === partition)).toHaveLength(10);
  });
});

describe('what is copied', () => {
  const ratio = fc.double({ min: 0, max: 1, noNaN: true });

  it('only grows with the ratio, from nothing to everything', () => {
    fc.assert(
      fc.property(bytes, ratio, ratio, (key, a, b) => {
        expect(isCopied(key, 0)).toBe(false);
        expect(isCopied(key, 1)).toBe(true);
        if (isCopied(key, Math.min(a, b))) expect(isCopied(key, Math.max(a, b))).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([0.01, 0.1, 0.29, 0.5, 0.9])('is the share %d of keys, in each partition too', (share) => {
    const partitions = 10;
    const copied = new Array<number>(partitions).fill(0);
    const all = new Array<number>(partitions).fill(0);
    for (let n = 0; n < 50_000; n++) {
      const key = Buffer.from(`customer-${n}`);
      const partition = partitionOfKey(key, partitions);
      all[partition] = (all[partition] ?? 0) + 1;
      if (isCopied(key, share)) copied[partition] = (copied[partition] ?? 0) + 1;
    }
    // Chi-square against the share, one degree of freedom a partition; 29.6 is p = 0.001 with ten.
    const chiSquare = all.reduce((sum, count, partition) => {
      const expected = count * share;
      return sum + ((copied[partition] ?? 0) - expected) ** 2 / (expected * (1 - share));
    }, 0);
    expect(chiSquare).toBeLessThan(29.6);
  });
});

describe('messages', () => {
  const settle = { resolve: () => undefined, reject: () => undefined };
  const message = (value: unknown, options: PublishOptions = {}) => newOutgoing('orders', value, options, settle);

  it('are JSON, but for text, bytes and null', () => {
    expect(message({ a: [1, null] }).value?.toString()).toBe('{"a":[1,null]}');
    expect(message(42).value?.toString()).toBe('42');
    expect(message('née').value).toEqual(Buffer.from('née'));
    expect(message(new Uint8Array([0, 255])).value).toEqual(Buffer.from([0, 255]));
    expect(message(null).value).toBeNull();
  });

  it('take an id, a key, headers with several values, a partition and a time', () => {
    const headers = { trace: ['a', Buffer.from([255])], none: undefined, [HEADER.source]: 'kafka/0/1' };
    const made = message('x', { id: 'one', key: 'k', headers, partition: 3, timestamp: new Date(5) });
    made.partition = 3;
    made.sequence = 8;
    made.routing = { epoch: 4, migrated: true, primary: 'kafka', copied: true };
    const kafka = kafkaMessage(made, 'me');
    expect(kafka).toMatchObject({ key: Buffer.from('k'), partition: 3, timestamp: '5' });
    expect(
      Object.fromEntries(Object.entries(kafka.headers ?? {}).map(([name, value]) => [name, String(value)])),
    ).toEqual({
      ...{ trace: `a,${String(Buffer.from([255]))}`, 'owlmq-id': 'one', 'owlmq-epoch': '4' },
      ...{ 'owlmq-seq': 'me:8', 'owlmq-copied': '1' },
    });
    const copy = owlmqRecord(made, 'me', { leg: 'kafka', partition: 3, offset: 77 });
    expect(copy).toMatchObject({ id: 'one', partition: 3, timestamp: 5 });
    expect(copy.headers.map(([name, value]) => `${name}=${value.toString('latin1')}`)).toEqual([
      ...['trace=a', 'trace=\u00ff', 'owlmq-id=one', 'owlmq-epoch=4', 'owlmq-seq=me:8', 'owlmq-copied=1'],
      'owlmq-source=kafka/3/77',
    ]);
  });

  it.each<[string, () => unknown]>([
    ['undefined', () => message(undefined)],
    ['a function', () => message(() => 1)],
    ['a big integer', () => message(1n)],
    ['a bad partition', () => message('x', { partition: -1 })],
    ['a bad time', () => message('x', { timestamp: Number.NaN })],
    ['an empty id', () => message('x', { id: '' })],
    ['no topic', () => newOutgoing('', 'x', {}, settle)],
  ])('are refused for %s', (_, make) => {
    expect(make).toThrow(PublishInputError);
  });
});
