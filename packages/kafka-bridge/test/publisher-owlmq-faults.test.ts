import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DualPublisher, type DualPublisherOptions } from '../src/index.js';
import { readProvenance } from '../src/message/headers.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { FaultyOwlmq, type Fault } from './faulty-owlmq.js';
import { API_KEY, routingState, testBrokers, TwoLegs, until, valuesByKey } from './publisher-fixture.js';

const faults: [string, Fault][] = [
  ['slow', { delayMs: 200 }],
  ['throttling', { refuse: 429, retryAfterS: 1 }],
  ['failing', { refuse: 500 }],
  ['failing although it has stored', { answerWith: 500 }],
  ['cut off in the middle of its answers', 'cut'],
];
const FAULTY_REQUESTS = 3;

describe('DualPublisher and an OwlMQ', () => {
  let legs: TwoLegs;
  let owlmq: FaultyOwlmq;
  let writer: RoutingWriter;
  const publishers: DualPublisher[] = [];

  beforeEach(async () => {
    legs = await TwoLegs.open();
    owlmq = await FaultyOwlmq.to(`http://${legs.owlmqLink.address}`);
    writer = new RoutingWriter({ connection: { brokers: testBrokers() }, clientId: 'faults-test' });
    await writer.ensureTopics();
  });

  afterEach(async () => {
    await Promise.all(publishers.splice(0).map((publisher) => publisher.close({ timeoutMs: 2_000 })));
    await owlmq.close();
    await writer.close();
    await legs.close();
  });

  function publisherOf(change: Partial<DualPublisherOptions> = {}): DualPublisher {
    const { kafka } = legs.options;
    const publisher = new DualPublisher({ kafka, owlmq: { url: owlmq.url, apiKey: API_KEY }, ...change });
    publishers.push(publisher);
    return publisher;
  }

  async function afterCutover(): Promise<void> {
    const { migration, topic } = legs;
    await writer.write(routingState({ migration, epoch: 1, topics: [topic], primary: 'owlmq', live: 'owlmq' }));
  }

  /** Makes the next requests meet the fault, and then none. */
  function plant(fault: Fault, count = FAULTY_REQUESTS): void {
    let left = count;
    owlmq.fault = () => (left-- > 0 ? fault : undefined);
  }

  async function expectSameOnBoth(count: number): Promise<void> {
    const records = await legs.owlmqRecords();
    expect(records).toHaveLength(count);
    expect(new Set(records.map(({ id }) => id)).size).toBe(count);
    expect(valuesByKey(records)).toEqual(valuesByKey(await legs.kafkaRecords()));
  }

  it.each(faults)('that is %s: copies arrive once and in order, calls do not wait', async (name, fault) => {
    const publisher = publisherOf({ ratio: 1 });
    await publisher.publish(legs.topic, 'first', { key: 'k0' });
    await publisher.flush();
    const before = owlmq.requests.length;
    plant(fault);
    let published = 1;
    while (owlmq.requests.length < before + FAULTY_REQUESTS + 1) {
      await publisher.publish(legs.topic, `${published}`, { key: `k${published % 5}` });
      published++;
      await delay(2);
    }
    await publisher.flush();
    const { dropped, copyErrors, owlmqLatencyMs } = publisher.status();
    expect({ dropped, copyErrors }).toEqual({ dropped: 0, copyErrors: name === 'slow' ? 0 : FAULTY_REQUESTS });
    if (name === 'slow') expect(owlmqLatencyMs).toBeGreaterThanOrEqual(200);
    if (name === 'throttling') {
      // Each batch that Kafka takes brings copies; none of them may cut the time short that OwlMQ asked for.
      const sent = owlmq.requests.slice(before, before + FAULTY_REQUESTS + 1);
      for (const [nth, at] of sent.slice(1).entries()) expect(at - (sent[nth] ?? 0)).toBeGreaterThan(950);
    }
    await expectSameOnBoth(published);
  });

  it.each(faults)('that is %s after the cutover: calls wait, then are stored once and in order', async (_, fault) => {
    await afterCutover();
    const publisher = publisherOf({ migration: legs.migration });
    await publisher.publish(legs.topic, 'first', { key: 'k0' });
    plant(fault);
    const calls = Array.from({ length: 300 }, (_, n) => publisher.publish(legs.topic, `${n}`, { key: `k${n % 5}` }));
    expect((await Promise.all(calls)).every(({ kafka, owlmq: place }) => kafka && place)).toBe(true);
    await publisher.flush();
    await expectSameOnBoth(301);
    // In the order of the calls, which both legs could have wrong alike.
    const ofKey = (key: number): string[] => Array.from({ length: 60 }, (_each, n) => `${5 * n + key}`);
    const expected = new Map([0, 1, 2, 3, 4].map((key) => [`k${key}`, ofKey(key)]));
    expected.set('k0', ['first', ...ofKey(0)]);
    expect(valuesByKey(await legs.owlmqRecords())).toEqual(expected);
  });

  it.each([
    ['throttling', { refuse: 429, retryAfterS: 9 }, { code: 'publish-failed', retriable: 'safe' }],
    ['failing', { refuse: 500 }, { code: 'publish-outcome-unknown', retriable: 'same-id', leg: 'owlmq' }],
    ['silent', 'hold', { code: 'publish-outcome-unknown', retriable: 'same-id', leg: 'owlmq' }],
    ['refusing the key', { refuse: 401 }, { code: 'publish-failed', retriable: 'no' }],
  ] as [string, Fault, object][])(
    'that is %s for longer than the bound after the cutover: the error says what to do',
    async (_, fault, error) => {
      await afterCutover();
      const publisher = publisherOf({ migration: legs.migration, deliveryTimeoutMs: 700 });
      await publisher.publish(legs.topic, 'first', { key: 'k' });
      owlmq.fault = () => fault;
      const call = publisher.publish(legs.topic, 'x', { key: 'k', id: 'the-id' });
      const started = performance.now();
      await expect(call).rejects.toMatchObject({ id: 'the-id', topic: legs.topic, ...error });
      // Not only at the attempt after its bound.
      expect(performance.now() - started).toBeLessThan(8_000);
      owlmq.fault = () => undefined;
      await publisher.publish(legs.topic, 'x', { key: 'k', id: 'the-id' });
      await expectSameOnBoth(2);
    },
  );

  it.each([
    ['answers', { first: 'owlmq', second: 'kafka' }],
    ['is silent', { first: 'kafka', second: 'kafka' }],
  ] as const)(
    'that stored calls and did not say so, and %s after a rollback: Kafka has each once, as far as can be known',
    async (then, expected) => {
      await afterCutover();
      const { migration, topic } = legs;
      const publisher = publisherOf({ migration });
      await publisher.publish(topic, 'before', { key: 'k' });
      owlmq.fault = () => ({ answerWith: 500 });
      const ended = new AbortController();
      const calls = ['first', 'second'].map((value) => publisher.publish(topic, value, { key: 'k' }));
      const third = publisher.publish(topic, 'third', { key: 'k', signal: ended.signal });
      await until('OwlMQ to have all', async () => (await legs.owlmqRecords()).length === 4);
      const onOwlmq = { primary: 'owlmq', live: 'owlmq', fence: { reason: 'test' } } as const;
      const back = { migration, topics: [topic], ...onOwlmq };
      await writer.write(routingState({ ...back, epoch: 2 }));
      await until('the fence', () => publisher.status().state === 'fenced');
      // As if all but the first had been under way when the audit took OwlMQ's ends.
      const places = await legs.owlmqRecords();
      const ends = Array.from({ length: legs.partitions }, (_, partition) =>
        places.filter((record) => record.partition === partition).length === 4 ? 2 : 0,
      );
      if (then === 'is silent') owlmq.concerns = () => true;
      owlmq.fault = () => (then === 'is silent' ? 'hold' : undefined);
      // In one go, as who was away reads them.
      await writer.write(routingState({ ...back, epoch: 3, drain: { [topic]: ends } }));
      await writer.write(routingState({ migration, topics: [topic], epoch: 4 }));
      if (then === 'is silent') {
        await until('OwlMQ to be asked', () => owlmq.held > 0);
        expect(publisher.status().held).toBe(3);
        ended.abort();
        await expect(third).rejects.toMatchObject({ code: 'publish-outcome-unknown' });
      }
      const [first, second] = await Promise.all(calls);
      expect([first?.epoch, second?.epoch]).toEqual([expected.first === 'owlmq' ? 1 : 4, 4]);
      if (then === 'answers') expect((await third).kafka).toBeDefined();
      const legOf = (result: typeof first) => (result?.kafka === undefined ? 'owlmq' : 'kafka');
      expect({ first: legOf(first), second: legOf(second) }).toEqual(expected);
      await publisher.publish(topic, 'after', { key: 'k' });
      const written = expected.first === 'kafka' ? ['first', 'second'] : ['second', 'third'];
      expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(['before', ...written, 'after']);
    },
  );

  it('that never answers costs calls nothing before the cutover', async () => {
    const publisher = publisherOf({ ratio: 1 });
    const round = async (): Promise<number> => {
      const started = performance.now();
      for (let n = 0; n < 40; n++) {
        const calls = Array.from({ length: 25 }, (_, m) => publisher.publish(legs.topic, 'x', { key: `k${m}` }));
        await Promise.all(calls);
      }
      return performance.now() - started;
    };
    await round();
    await publisher.flush();
    const healthy: number[] = [];
    const dead: number[] = [];
    for (let n = 0; n < 3; n++) {
      healthy.push(await round());
      await publisher.flush();
      owlmq.fault = () => 'hold';
      const sent = owlmq.requests.length;
      dead.push(await round());
      await until('a request is held', () => owlmq.held > 0);
      // Every call of the round has been answered; no request since its begin has been.
      expect(publisher.status()).toMatchObject({ unsettled: 0, backlog: 1_000 });
      expect(owlmq.requests.length).toBeGreaterThan(sent);
      owlmq.fault = () => undefined;
      owlmq.dropHeld();
      await publisher.flush();
    }
    const [fastest, slowest] = [Math.min(...healthy), Math.min(...dead)];
    console.info(`1,000 calls: ${fastest.toFixed(0)} ms with OwlMQ, ${slowest.toFixed(0)} ms without an answer of it`);
    expect(slowest).toBeLessThan(2 * fastest + 100);
  });

  it('has one copy of a message whose outcome on Kafka was unknown and that was published again by its id', async () => {
    const kafka = { brokers: [legs.kafkaLink.address] };
    const publisher = publisherOf({ kafka, ratio: 1, deliveryTimeoutMs: 1_000 });
    await publisher.publish(legs.topic, '0', { key: 'k' });
    legs.kafkaLink.loseAnswers();
    const call = publisher.publish(legs.topic, '1', { key: 'k', id: 'the-id' });
    const error = { code: 'publish-outcome-unknown', retriable: 'same-id', leg: 'kafka', id: 'the-id' };
    await expect(call).rejects.toMatchObject(error);
    expect(await legs.kafkaRecords()).toHaveLength(2);
    legs.kafkaLink.restore();
    await publisher.publish(legs.topic, '1', { key: 'k', id: 'the-id' });
    await publisher.publish(legs.topic, '2', { key: 'k' });
    await publisher.flush();
    // Kafka knows no ids: consumers tell the second by its header.
    const again = await legs.kafkaRecords();
    expect(valuesByKey(again).get('k')).toEqual(['0', '1', '1', '2']);
    expect(again.filter(({ headers }) => readProvenance(headers).id === 'the-id')).toHaveLength(2);
    expect(valuesByKey(await legs.owlmqRecords()).get('k')).toEqual(['0', '1', '2']);
  });
});
