import fc from 'fast-check';
import { validate, version } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { ConsumedMessage } from '../src/consumer/consumed-message.js';
import { deterministicSources } from '../src/consumer/deterministic-sources.js';

function message(change: Partial<ConsumedMessage> = {}): ConsumedMessage {
  return {
    topic: 'orders',
    partition: 1,
    key: null,
    value: null,
    headers: {},
    timestamp: 1_700_000_000_000,
    id: 'id-1',
    position: { leg: 'kafka', kafka: 7 },
    ...change,
  };
}

type Taken = 'random' | 'id' | number;

function take(group: string, of: ConsumedMessage, order: readonly Taken[]): unknown[] {
  const sources = deterministicSources(group, of);
  return order.map((one) =>
    one === 'random' ? sources.random() : one === 'id' ? sources.id() : sources.randomBytes(one).toString('hex'),
  );
}

const taken = fc.array(fc.oneof(fc.constantFrom<Taken>('random', 'id'), fc.nat({ max: 70 })), { maxLength: 20 });

describe('deterministic sources', () => {
  it('give what they gave before: an update must not change it', () => {
    expect(take('payments', message(), ['random', 'id', 'id', 5, 'random'])).toMatchInlineSnapshot(`
      [
        0.5245386491454223,
        "018bcfe5-6800-7a6c-8c3b-f0feda924713",
        "018bcfe5-6800-7ebc-8017-f376b8eee5bb",
        "6a38ef5925",
        0.9390300283138748,
      ]
    `);
  });

  it('depend on group, topic, id and time alone', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.nat(), taken, (group, topic, id, timestamp, order) => {
        const kafka = message({ topic, id, timestamp });
        const owlmq = message({ topic, id, timestamp, partition: 4, position: { leg: 'owlmq', owlmq: 1 } });
        expect(take(group, owlmq, order)).toEqual(take(group, kafka, order));
        const { clock } = deterministicSources(group, kafka);
        expect([clock.now(), clock.date().getTime()]).toEqual([timestamp, timestamp]);
      }),
    );
  });

  it('differ between messages, groups and topics, and from one call to the next', () => {
    const order: Taken[] = ['random', 'id', 16];
    const all = [
      ...take('a', message({ id: 'b' }), [...order, ...order]),
      ...take('ab', message({ id: '' }), order),
      // One text, if the three were put together without a seam.
      ...take('a', message({ id: 'sb', topic: 'order' }), order),
      ...take('a', message({ id: 'b', topic: 'others' }), order),
      ...take('a', message({ id: 'c' }), order),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  it('do not shift one another: numbers are the same however many ids were taken', () => {
    const [number] = take('a', message(), ['random']);
    expect(take('a', message(), ['id', 'id', 'random'])[2]).toBe(number);
  });

  it('have the form that they promise', () => {
    const { random, id } = deterministicSources('a', message());
    const numbers = Array.from({ length: 10_000 }, random);
    expect(numbers.every((one) => one >= 0 && one < 1)).toBe(true);
    // Ten standard deviations: 1 / sqrt(12 * 10,000) each.
    expect(Math.abs(numbers.reduce((sum, one) => sum + one, 0) / numbers.length - 0.5)).toBeLessThan(0.029);
    const ids = Array.from({ length: 100 }, id);
    expect(ids.every((one) => validate(one) && version(one) === 7)).toBe(true);
    expect(new Set(ids.map((one) => Number.parseInt(one.replaceAll('-', '').slice(0, 12), 16)))).toEqual(
      new Set([1_700_000_000_000]),
    );
    // A record without a time.
    expect(deterministicSources('a', message({ timestamp: -1 })).id()).toMatch(/^00000000-0000-7/);
    expect(() => deterministicSources('a', message()).randomBytes(65_537)).toThrow(RangeError);
  });
});
