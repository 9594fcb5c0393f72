import { Kafka, logLevel, type Admin } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { DualPublisher, PublisherClosedError, type DualPublisherOptions, type PublisherEvent } from '../src/index.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { LogReader } from '../src/kafka/log-reader.js';
import { ReplaceableProducer } from '../src/kafka/replaceable-producer.js';
import { MEMBERS_TOPIC } from '../src/members/member-report.js';
import { MemberRoster } from '../src/members/member-roster.js';
import { RoutingBoard } from '../src/routing/routing-board.js';
import { RoutingFollower } from '../src/routing/routing-follower.js';
import { ROUTING_TOPIC, type RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { PrivateBroker } from './private-broker.js';
import { ALWAYS_REPORTED, publisherReport, routingState, uniqueName, until } from './publisher-fixture.js';

const LEASE_MS = 1_500;
let broker: PrivateBroker;
let writer: RoutingWriter;
let reader: LogReader;
let admin: Admin;
let cluster: ClusterAdmin;
const connection = { brokers: [] as string[] };

beforeAll(async () => {
  broker = await PrivateBroker.start();
  connection.brokers = broker.brokers;
  writer = new RoutingWriter({ connection, clientId: 'routing-faults' });
  reader = new LogReader(connection, { clientId: 'routing-faults' });
  cluster = new ClusterAdmin(connection, { clientId: 'routing-faults' });
  admin = new Kafka({ ...connection, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await writer.ensureTopics();
});

afterAll(async () => {
  await admin.disconnect();
  await Promise.all([writer.close(), reader.close(), cluster.close()]);
  await broker.remove();
});

async function migrationOf(change: Partial<RoutingState> = {}) {
  const migration = uniqueName('migration');
  const topic = uniqueName('orders');
  await cluster.createTopic(topic, { partitions: 1 });
  const state = (epoch: number, more: Partial<RoutingState> = {}): RoutingState =>
    routingState({ migration, epoch, topics: [topic], leaseMs: LEASE_MS, ...change, ...more });
  await writer.write(state(1));
  return { migration, topic, state };
}

function publisherOf(migration: string, change: Partial<DualPublisherOptions> = {}) {
  const events: PublisherEvent[] = [];
  const publisher = new DualPublisher({
    ...{ kafka: connection, owlmq: { url: 'http://127.0.0.1:1', apiKey: 'none' }, migration },
    onEvent: (event) => events.push(event),
    ...change,
  });
  onTestFinished(() => publisher.close({ timeoutMs: 2_000 }));
  const errors = (): string[] => events.flatMap((event) => (event.type === 'error' ? [event.error.name] : []));
  return { publisher, events, errors };
}

async function valuesOf(topic: string): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of reader.readToEnd(topic, 0, 0)) values.push(value?.toString() ?? '');
  return values;
}

/** Publishes one call after the other until it is told to end; returns what was acknowledged. */
function steadily(publisher: DualPublisher, topic: string) {
  const acknowledged: string[] = [];
  const failed: Error[] = [];
  const stopping = new AbortController();
  // A closed publisher refuses at once: a loop that goes on would leave no turn to anybody.
  onTestFinished(() => {
    stopping.abort();
  });
  const done = (async () => {
    for (let n = 0; !stopping.signal.aborted && !(failed.at(-1) instanceof PublisherClosedError); n++) {
      await publisher.publish(topic, String(n), { key: 'k' }).then(
        () => acknowledged.push(String(n)),
        (error: unknown) => failed.push(error as Error),
      );
    }
  })();
  const end = async (): Promise<void> => {
    stopping.abort();
    await done;
  };
  return { acknowledged, failed, end };
}

describe('a long routing topic that is written to', () => {
  it('is read to the end that it had before the first write of a publisher that starts', async () => {
    const { migration, topic, state } = await migrationOf();
    const producer = new ReplaceableProducer({ connection, clientId: 'filler' });
    const fill = async (first: number, count: number): Promise<void> => {
      const messages = Array.from({ length: count }, (_, n) => {
        const other = { ...state(first + n), migration: `other-${n % 50}` };
        return { key: other.migration, value: JSON.stringify(other), partition: 0 };
      });
      await producer.sendBatch({ topicMessages: [{ topic: ROUTING_TOPIC, messages }] }, 20_000);
    };
    for (let n = 0; n < 10; n++) await fill(n * 1_000 + 1, 1_000);
    const standing = state(7, { ratio: 0 });
    await writer.write(standing);
    const stopping = new AbortController();
    const filling = (async () => {
      for (let n = 20_000; !stopping.signal.aborted; n += 20) await fill(n, 20);
    })();
    const { publisher } = publisherOf(migration);
    const { epoch } = await publisher.publish(topic, 'first');
    stopping.abort();
    await filling;
    await producer.close();
    expect(epoch).toBe(7);
  });
});

describe('a routing topic that is deleted while members run', () => {
  it('holds them past their lease, and again while the new one is empty or behind; they go on by themselves', async () => {
    const { migration, topic, state } = await migrationOf();
    await writer.write(state(5));
    const { publisher, errors, events } = publisherOf(migration);
    const board = new RoutingBoard({ connection, clientId: 'board', onError: () => undefined });
    await board.start();
    onTestFinished(() => board.stop());
    expect(await publisher.publish(topic, '0', { key: 'k' })).toMatchObject({ epoch: 5 });
    expect(board.find(migration)).toMatchObject({ state: { epoch: 5 }, standing: true });
    await admin.deleteTopics({ topics: [ROUTING_TOPIC] });
    await until('the lease is lost', () => publisher.status().state === 'lease-lost');
    expect(errors()).toContain('UnknownTopicError');

    await writer.ensureTopics();
    await until('it says what is missing', () => errors().includes('RoutingLostError'));
    const lost = events.find((event) => event.type === 'error' && event.error.name === 'RoutingLostError');
    expect(lost).toMatchObject({
      error: { message: expect.stringMatching(/no state.*obeys epoch 5.*routing set/) as string },
    });
    await writer.write(state(3));
    const call = publisher.publish(topic, '1', { key: 'k' });
    const longer = performance.now() + LEASE_MS;
    await until('a lease is over', () => performance.now() > longer);
    expect(publisher.status()).toMatchObject({ state: 'lease-lost', held: 1 });
    expect(await valuesOf(topic)).toEqual(['0']);
    await board.readToEnd();
    expect(board.find(migration)).toMatchObject({ state: { epoch: 5 }, standing: false });

    await writer.write(state(5));
    await board.readToEnd();
    expect(board.find(migration)).toMatchObject({ state: { epoch: 5 }, standing: true });
    expect(await call).toMatchObject({ epoch: 5 });
    await writer.write(state(6));
    await until('it obeys', () => publisher.status().epoch === 6);
    expect(await valuesOf(topic)).toEqual(['0', '1']);
  });

  it('keeps one that starts meanwhile from taking it for a migration that has not begun', async () => {
    const { migration, topic, state } = await migrationOf();
    await writer.write(state(5, { fence: { reason: 'test' } }));
    const { publisher: first } = publisherOf(migration);
    await first.connect();
    await until('it obeys the fence', () => first.status().state === 'fenced');
    await first.close();
    await admin.deleteTopics({ topics: [ROUTING_TOPIC] });
    await writer.ensureTopics();
    const { publisher, events } = publisherOf(migration);
    const call = publisher.publish(topic, 'held', { key: 'k' });
    await until('it says what is missing', () =>
      events.some((event) => event.type === 'error' && event.error.name === 'RoutingLostError'),
    );
    const lost = events.find((event) => event.type === 'error' && event.error.name === 'RoutingLostError');
    expect(lost).toMatchObject({
      error: { message: expect.stringMatching(/no state.*members have reported epoch 5.*routing set/) as string },
    });
    expect(await valuesOf(topic)).toEqual([]);
    await writer.write(state(6));
    expect(await call).toMatchObject({ epoch: 6 });
  });

  it('is noticed when the new one is as long as the old one already, and is made anew by a write', async () => {
    const { migration, state } = await migrationOf();
    await writer.write(state(5));
    const follower = new RoutingFollower({ connection, migration, clientId: 'follower' });
    follower.reported(ALWAYS_REPORTED);
    await follower.start();
    onTestFinished(() => follower.stop());
    const producer = new ReplaceableProducer({ connection, clientId: 'filler' });
    const length = (await reader.ends(ROUTING_TOPIC))[0] ?? 0;
    await admin.deleteTopics({ topics: [ROUTING_TOPIC] });
    await writer.write(state(6));
    // Behind the state at once, so that the old position lies inside of the new log.
    const filler = { ...state(1), migration: 'filler' };
    const messages = Array.from({ length: length + 10 }, () => ({
      ...{ key: 'filler', value: JSON.stringify(filler), partition: 0 },
    }));
    await producer.sendBatch({ topicMessages: [{ topic: ROUTING_TOPIC, messages }] }, 20_000);
    await producer.close();
    await until('the state at the begin of the new topic is read', () => follower.state?.epoch === 6);
  });
});

describe('a broker that is restarted', () => {
  it('within the lease: nobody is held, nothing acknowledged is lost, nothing comes twice', async () => {
    const { migration, topic } = await migrationOf({ leaseMs: 60_000 });
    const { publisher, events } = publisherOf(migration, { deliveryTimeoutMs: 60_000 });
    const calls = steadily(publisher, topic);
    await until('it publishes', () => calls.acknowledged.length > 20);
    await broker.stop();
    await broker.startAgain();
    const before = calls.acknowledged.length;
    await until('it goes on', () => calls.acknowledged.length > before + 20, 60_000);
    await calls.end();
    expect(calls.failed).toEqual([]);
    expect(events.filter(({ type }) => type === 'held')).toEqual([]);
    expect(await valuesOf(topic)).toEqual(calls.acknowledged);
  });

  it('past the lease: they are held, go on by themselves, and nothing acknowledged is lost or comes twice', async () => {
    const { migration, topic } = await migrationOf();
    const { publisher, events } = publisherOf(migration, { deliveryTimeoutMs: 60_000 });
    const calls = steadily(publisher, topic);
    await until('it publishes', () => calls.acknowledged.length > 20);
    await broker.stop();
    await until('the lease is lost', () => publisher.status().state === 'lease-lost');
    await broker.startAgain();
    const before = calls.acknowledged.length;
    await until('it goes on', () => calls.acknowledged.length > before + 20, 60_000);
    await calls.end();
    expect(events).toContainEqual({ type: 'held', reason: 'lease-lost' });
    expect(calls.failed).toEqual([]);
    expect(await valuesOf(topic)).toEqual(calls.acknowledged);
  });
});

describe('a roster of hundreds of members', () => {
  it('is read to its end in milliseconds while all of them report, and keeps one report of each', async () => {
    const migration = uniqueName('hundreds');
    const members = Array.from({ length: 300 }, (_, n) => `member-${n}`);
    const producers = ['a', 'b', 'c'].map((name) => new ReplaceableProducer({ connection, clientId: name }));
    const reportAll = async (epoch: number): Promise<void> => {
      await Promise.all(
        producers.map(async (producer, third) => {
          const own = members.slice(third * 100, third * 100 + 100);
          const messages = own.map((instance) => ({
            key: `${migration}/${instance}`,
            value: JSON.stringify(publisherReport(migration, instance, { epoch })),
            partition: 0,
          }));
          await producer.sendBatch({ topicMessages: [{ topic: MEMBERS_TOPIC, messages }] }, 20_000);
        }),
      );
    };
    // As much as compaction may have left to read: of each a hundred reports.
    for (let epoch = 1; epoch <= 100; epoch++) await reportAll(epoch);
    const roster = new MemberRoster({ connection, clientId: 'roster' });
    const heapBefore = process.memoryUsage().heapUsed;
    const started = performance.now();
    await roster.start();
    const startMs = performance.now() - started;
    const tookMs: number[] = [];
    for (let epoch = 101; epoch <= 130; epoch++) {
      await reportAll(epoch);
      const asked = performance.now();
      await roster.readToEnd();
      tookMs.push(performance.now() - asked);
      const known = roster.members(migration);
      expect(known).toHaveLength(300);
      expect(known.every(({ report }) => report.epoch >= epoch)).toBe(true);
    }
    const heapMb = (process.memoryUsage().heapUsed - heapBefore) / 2 ** 20;
    await roster.stop();
    await Promise.all(producers.map((producer) => producer.close()));
    const median = tookMs.toSorted((a, b) => a - b)[15] ?? 0;
    console.info(
      `roster: start ${startMs.toFixed(0)} ms for 30,000 reports; 300 more: median ${median.toFixed(0)} ms; heap ${heapMb.toFixed(0)} MB`,
    );
    // Generous: it says that nothing grows with the members, not how fast this machine is.
    expect(median).toBeLessThan(1_000);
    expect(startMs).toBeLessThan(15_000);
  });
});
