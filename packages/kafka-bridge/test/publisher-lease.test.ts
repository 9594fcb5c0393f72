import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { DualPublisher, type DualPublisherOptions, type PublisherEvent } from '../src/index.js';
import { MemberRoster } from '../src/members/member-roster.js';
import { readProvenance } from '../src/message/headers.js';
import type { RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { routingState, testBrokers, TwoLegs, until, valuesByKey } from './publisher-fixture.js';
import { PublisherProcess } from './publisher-process.js';

const LEASE_MS = 1_500;
let legs: TwoLegs;
let writer: RoutingWriter;

beforeEach(async () => {
  legs = await TwoLegs.open();
  writer = new RoutingWriter({ connection: { brokers: testBrokers() }, clientId: 'publisher-lease-test' });
  await writer.ensureTopics();
});

afterEach(async () => {
  await writer.close();
  await legs.close();
});

async function route(epoch: number, change: Partial<RoutingState> = {}): Promise<void> {
  const { migration, topic } = legs;
  await writer.write(routingState({ migration, epoch, topics: [topic], leaseMs: LEASE_MS, ...change }));
}

/** Waits until a lease that was renewed before the call is over, and no longer counted on. */
async function leaseOver(): Promise<void> {
  const over = performance.now() + LEASE_MS;
  await until('the lease is over', () => performance.now() > over);
}

const epochOf = ({ headers }: { headers: Parameters<typeof readProvenance>[0] }) => readProvenance(headers).epoch;

describe('a publisher that is frozen with writes under way', () => {
  async function start(): Promise<PublisherProcess> {
    const publisher = await PublisherProcess.start({
      ...legs.options,
      kafka: { brokers: [legs.kafkaLink.address] },
      migration: legs.migration,
      topic: legs.topic,
      everyMs: 2,
    });
    onTestFinished(() => {
      publisher.kill();
    });
    await until('it publishes', () => publisher.acknowledged > 50);
    return publisher;
  }

  async function untilUnderWay(publisher: PublisherProcess): Promise<void> {
    await until('a batch is under way and others wait', async () => {
      const { inFlight, unsettled } = await publisher.status();
      return inFlight > 0 && unsettled > inFlight + 20;
    });
  }

  it('writes nothing of its old epoch to Kafka once it goes on past its lease', async () => {
    await route(1);
    const publisher = await start();
    legs.kafkaLink.blackhole();
    await untilUnderWay(publisher);
    publisher.freeze();
    legs.kafkaLink.restore();
    await route(2, { fence: { reason: 'test' } });
    await leaseOver();
    const fence = await legs.reader.ends(legs.topic);
    publisher.thaw();
    await until('it is fenced', async () => {
      const { state, epoch } = await publisher.status();
      return state === 'fenced' && epoch === 2;
    });
    expect(await legs.reader.ends(legs.topic)).toEqual(fence);
    await route(3);
    await until('it goes on', () => publisher.outcomes.some(({ epoch }) => epoch === 3));
    const sent = await publisher.close();

    const kafka = await legs.kafkaRecords();
    const late = kafka.filter((record) => epochOf(record) === 1 && record.offset >= (fence[record.partition] ?? 0));
    expect(late).toEqual([]);
    // Those under way are told as what they are; those behind them were held and are published.
    const failed = publisher.outcomes.filter(({ error }) => error !== undefined);
    expect(new Set(failed.map(({ error }) => error))).toEqual(new Set(['PublishOutcomeUnknownError']));
    expect(publisher.outcomes).toHaveLength(sent);
    const written = new Set(kafka.map(({ value }) => Number(value?.toString())));
    for (const { n, error } of publisher.outcomes) expect(error !== undefined || written.has(n)).toBe(true);
    expect(kafka).toHaveLength(written.size);
  });

  it('writes nothing of its old epoch to either leg after the cutover, and sends held calls by the next state', async () => {
    await route(1, { primary: 'owlmq', live: 'owlmq' });
    const publisher = await start();
    legs.owlmqLink.blackhole();
    legs.kafkaLink.blackhole();
    await untilUnderWay(publisher);
    publisher.freeze();
    legs.owlmqLink.restore();
    legs.kafkaLink.restore();
    await route(2, { primary: 'owlmq', live: 'owlmq', fence: { reason: 'test' } });
    await leaseOver();
    const fence = { kafka: await legs.reader.ends(legs.topic), owlmq: (await legs.owlmqRecords()).length };
    publisher.thaw();
    await until('it is fenced', async () => {
      const { state, epoch } = await publisher.status();
      return state === 'fenced' && epoch === 2;
    });
    expect(await legs.reader.ends(legs.topic)).toEqual(fence.kafka);
    expect(await legs.owlmqRecords()).toHaveLength(fence.owlmq);
    await route(3, { primary: 'kafka', live: 'kafka' });
    await until('it goes on', () => publisher.outcomes.some(({ epoch }) => epoch === 3));
    await publisher.close();
    expect(await legs.owlmqRecords()).toHaveLength(fence.owlmq);
    const late = (await legs.kafkaRecords()).filter(
      (record) => epochOf(record) === 1 && record.offset >= (fence.kafka[record.partition] ?? 0),
    );
    expect(late).toEqual([]);
  });
});

describe('a lease that is lost', () => {
  function publisherOf(change: Partial<DualPublisherOptions> = {}) {
    const events: PublisherEvent[] = [];
    const publisher = new DualPublisher({
      ...legs.options,
      kafka: { brokers: [legs.kafkaLink.address] },
      migration: legs.migration,
      onEvent: (event) => events.push(event),
      ...change,
    });
    onTestFinished(() => publisher.close({ timeoutMs: 1_000 }));
    return { publisher, events };
  }

  it.each(['cut', 'blackhole', 'loseAnswers'] as const)(
    'fails, repeats and reorders no call when Kafka is away for longer and the epoch is the same (%s)',
    async (how) => {
      await route(1);
      const { publisher, events } = publisherOf();
      await publisher.publish(legs.topic, '0', { key: 'k' });
      legs.kafkaLink[how]();
      const calls = Array.from({ length: 50 }, (_, n) => publisher.publish(legs.topic, `${n + 1}`, { key: 'k' }));
      await until('the lease is lost', () => publisher.status().state === 'lease-lost');
      calls.push(...[51, 52, 53].map((n) => publisher.publish(legs.topic, `${n}`, { key: 'k' })));
      expect(publisher.status()).toMatchObject({ inFlight: 50, held: 3 });
      legs.kafkaLink.restore();
      expect((await Promise.all(calls)).map(({ epoch }) => epoch)).toEqual(calls.map(() => 1));
      expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(Array.from({ length: 54 }, (_, n) => `${n}`));
      expect(events).toContainEqual({ type: 'held', reason: 'lease-lost' });
    },
  );

  it('is told by the monotonic clock alone: a wall clock that jumps hours either way changes nothing', async () => {
    await route(1);
    const { publisher, events } = publisherOf();
    // Kafka itself refuses messages whose time is more than an hour ahead.
    const options = { key: 'k', timestamp: Date.now() };
    await publisher.publish(legs.topic, '0', options);
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    let sent = 1;
    for (const hours of [5, -48]) {
      vi.setSystemTime(Date.now() + hours * 3_600_000);
      // Longer than a lease after each jump.
      const until = performance.now() + LEASE_MS + 200;
      while (performance.now() < until) await publisher.publish(legs.topic, `${sent++}`, options);
      expect(publisher.status().state).toBe('publishing');
    }
    expect(events.filter(({ type }) => type === 'held' || type === 'error')).toEqual([]);
    legs.kafkaLink.blackhole();
    const lostAfter = performance.now();
    vi.setSystemTime(Date.now() - 5 * 3_600_000);
    await until('the lease is lost', () => publisher.status().state === 'lease-lost');
    expect(performance.now() - lostAfter).toBeLessThan(LEASE_MS + 1_000);
    legs.kafkaLink.restore();
    expect(valuesByKey(await legs.kafkaRecords()).get('k')).toEqual(Array.from({ length: sent }, (_, n) => `${n}`));
  });
});

describe('close()', () => {
  const outcomesOf = async (calls: Promise<unknown>[]): Promise<string[]> =>
    (await Promise.allSettled(calls)).map((outcome) =>
      outcome.status === 'fulfilled' ? 'published' : (outcome.reason as Error).name,
    );

  async function closing(
    prepare: (publisher: DualPublisher) => Promise<Promise<unknown>[]>,
    change: Partial<RoutingState> = {},
  ) {
    await route(1, change);
    const publisher = new DualPublisher({
      ...legs.options,
      kafka: { brokers: [legs.kafkaLink.address] },
      migration: legs.migration,
    });
    await publisher.publish(legs.topic, 'first', { key: 'k' });
    const calls = await prepare(publisher);
    const outcomes = outcomesOf(calls);
    const started = performance.now();
    await publisher.close({ timeoutMs: 500 });
    const tookMs = performance.now() - started;
    // Nothing goes on behind it.
    const records = [await legs.kafkaRecords(), await legs.owlmqRecords()].map(({ length }) => length);
    const roster = new MemberRoster({ connection: { brokers: testBrokers() }, clientId: 'closing' });
    await roster.start();
    const state = roster.members(legs.migration)[0]?.report.state;
    await roster.stop();
    return { outcomes: await outcomes, tookMs, state, records };
  }

  const publishAll = (publisher: DualPublisher): Promise<unknown>[] =>
    ['a', 'b'].map((value) => publisher.publish(legs.topic, value, { key: 'k' }));

  it('fails what a fence holds, unsent, and says that it leaves', async () => {
    const closed = await closing(async (publisher) => {
      await route(2, { fence: { reason: 'test' } });
      await until('it is fenced', () => publisher.status().state === 'fenced');
      return publishAll(publisher);
    });
    expect(closed).toMatchObject({ outcomes: ['PublisherClosedError', 'PublisherClosedError'], state: 'left' });
    expect(closed.tookMs).toBeLessThan(5_000);
    expect(closed.records).toEqual([1, 0]);
  });

  it('fails what a lost lease holds, unsent, in bounded time', async () => {
    const closed = await closing(async (publisher) => {
      legs.kafkaLink.blackhole();
      await until('the lease is lost', () => publisher.status().state === 'lease-lost');
      return publishAll(publisher);
    });
    expect(closed).toMatchObject({ outcomes: ['PublisherClosedError', 'PublisherClosedError'] });
    expect(closed.tookMs).toBeLessThan(20_000);
    expect(closed.records).toEqual([1, 0]);
  });

  it('tells what is under way to a dead Kafka as unknown, in bounded time', async () => {
    const closed = await closing(async (publisher) => {
      legs.kafkaLink.blackhole();
      const calls = publishAll(publisher);
      await until('they are under way', () => publisher.status().inFlight > 0);
      return calls;
    });
    expect(new Set(closed.outcomes)).toEqual(new Set(['PublishOutcomeUnknownError']));
    expect(closed.tookMs).toBeLessThan(20_000);
    expect(closed.records).toEqual([1, 0]);
  });

  it('leaves copies for a dead OwlMQ to the audit, and says that it leaves', async () => {
    const closed = await closing(
      async (publisher) => {
        await publisher.flush();
        legs.owlmqLink.blackhole();
        const calls = publishAll(publisher);
        await Promise.all(calls);
        return calls;
      },
      { ratio: 1 },
    );
    expect(closed).toMatchObject({ outcomes: ['published', 'published'], state: 'left' });
    expect(closed.tookMs).toBeLessThan(10_000);
    expect(closed.records).toEqual([3, 1]);
  });

  it('tells what is under way to a dead OwlMQ as unknown after the cutover, and says that it leaves', async () => {
    const closed = await closing(
      async (publisher) => {
        legs.owlmqLink.blackhole();
        const calls = publishAll(publisher);
        await until('they are under way', () => publisher.status().inFlight > 0);
        return calls;
      },
      { primary: 'owlmq', live: 'owlmq' },
    );
    expect(closed).toMatchObject({
      outcomes: ['PublishOutcomeUnknownError', 'PublishOutcomeUnknownError'],
      state: 'left',
    });
    expect(closed.tookMs).toBeLessThan(15_000);
    expect(closed.records).toEqual([1, 1]);
  });
});
