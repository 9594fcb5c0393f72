import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { MEMBERS_TOPIC } from '../src/members/member-report.js';
import { MemberReporter } from '../src/members/member-reporter.js';
import { MemberRoster } from '../src/members/member-roster.js';
import { EpochSupersededError, RoutingUnavailableError } from '../src/routing/routing-errors.js';
import { RoutingFollower } from '../src/routing/routing-follower.js';
import { decodeRoutingRecord, newerState, RoutingRecordError } from '../src/routing/routing-log.js';
import { ROUTING_TOPIC, type RoutingState } from '../src/routing/routing-state.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { ReplaceableProducer } from '../src/kafka/replaceable-producer.js';
import { ALWAYS_REPORTED, publisherReport, routingState, testBrokers, uniqueName, until } from './publisher-fixture.js';
import { TcpProxy } from './tcp-proxy.js';

const connection = { brokers: [] as string[] };
let writer: RoutingWriter;

beforeAll(async () => {
  connection.brokers = testBrokers();
  writer = new RoutingWriter({ connection, clientId: 'routing-test' });
  await writer.ensureTopics();
});

afterAll(async () => {
  await writer.close();
});

describe('the rule of epochs', () => {
  const states = fc.array(
    fc.record({ epoch: fc.integer({ min: 1, max: 12 }), ratio: fc.double({ min: 0, max: 1, noNaN: true }) }),
    { minLength: 1, maxLength: 30 },
  );

  it('only rises, whatever the order and the repetitions of records, and keeps the first of an epoch', () => {
    fc.assert(
      fc.property(states, (drawn) => {
        let current: RoutingState | undefined;
        const firstOf = new Map<number, RoutingState>();
        for (const { epoch, ratio } of drawn) {
          const candidate = routingState({ migration: 'm', epoch, ratio });
          if (!firstOf.has(epoch)) firstOf.set(epoch, candidate);
          const before = current?.epoch ?? 0;
          current = newerState(current, candidate);
          expect(current.epoch).toBe(Math.max(before, epoch));
        }
        const highest = Math.max(...drawn.map(({ epoch }) => epoch));
        // Of the highest epoch, the record that came first, even when others of it followed.
        expect(current).toBe(firstOf.get(highest));
      }),
    );
  });

  it('refuses records that are no states, or of another migration than their key says', () => {
    const value = Buffer.from(JSON.stringify(routingState({ migration: 'a', epoch: 1 })));
    expect(decodeRoutingRecord({ key: Buffer.from('a'), value, offset: 0 })?.epoch).toBe(1);
    expect(() => decodeRoutingRecord({ key: Buffer.from('b'), value, offset: 0 })).toThrow(RoutingRecordError);
    expect(() => decodeRoutingRecord({ key: Buffer.from('a'), value: Buffer.from('{'), offset: 7 })).toThrow(
      /Offset 7/,
    );
    expect(decodeRoutingRecord({ key: Buffer.from('a'), value: null, offset: 0 })).toBeUndefined();
  });
});

describe('RoutingWriter', () => {
  it('writes once what is written twice, and refuses what is superseded', async () => {
    const migration = uniqueName('writer');
    expect(await writer.read(migration)).toBeUndefined();
    const first = routingState({ migration, epoch: 1 });
    await writer.write(first);
    await writer.write({ ...first, writtenAt: '2027-01-01T00:00:00.000Z' });
    expect((await writer.read(migration))?.writtenAt).toBe(first.writtenAt);

    const second = routingState({ migration, epoch: 2, ratio: 0.5 });
    await writer.write(second);
    await expect(writer.write(first)).rejects.toMatchObject({ name: 'EpochSupersededError', found: second });
    await expect(writer.write({ ...second, ratio: 0.6 })).rejects.toBeInstanceOf(EpochSupersededError);
    expect(await writer.read(migration)).toEqual(second);
    expect(await writer.readAll()).toContainEqual(second);
    // Of many at a time each has what stood when it asked, though few of them cost a read.
    const early = Array.from({ length: 50 }, () => writer.readAll());
    const third = { ...second, epoch: second.epoch + 1 };
    await writer.write(third);
    for (const states of await Promise.all(Array.from({ length: 50 }, () => writer.readAll()))) {
      expect(states).toContainEqual(third);
    }
    await Promise.all(early);
  });

  it('lets one of several writers of an epoch win, and all readers see that one', async () => {
    const migration = uniqueName('race');
    const writers = [1, 2, 3, 4].map((n) => new RoutingWriter({ connection, clientId: `racer-${n}` }));
    const outcomes = await Promise.allSettled(
      writers.map((racer, n) => racer.write(routingState({ migration, epoch: 1, ratio: n / 10 }))),
    );
    await Promise.all(writers.map((racer) => racer.close()));
    const won = outcomes.flatMap((outcome, n) => (outcome.status === 'fulfilled' ? [n / 10] : []));
    expect(won).toHaveLength(1);
    expect((await writer.read(migration))?.ratio).toBe(won[0]);
  });

  it('puts the standing state back behind a stray lower epoch, which compaction would keep alone', async () => {
    const migration = uniqueName('stray');
    const standing = routingState({ migration, epoch: 5, ratio: 0.5 });
    await writer.write(standing);
    const stray = new ReplaceableProducer({ connection, clientId: 'stray' });
    const value = JSON.stringify(routingState({ migration, epoch: 3 }));
    const messages = [{ key: migration, value, partition: 0 }];
    await stray.sendBatch({ topicMessages: [{ topic: ROUTING_TOPIC, messages }] }, 10_000);
    await stray.close();
    expect((await writer.read(migration))?.epoch).toBe(5);
    await writer.write(standing);

    const { LogReader } = await import('../src/kafka/log-reader.js');
    const reader = new LogReader(connection, { clientId: 'stray-check' });
    const begin = (await reader.bounds(ROUTING_TOPIC))[0]?.beginOffset ?? 0;
    const epochs: (number | undefined)[] = [];
    for await (const record of reader.readToEnd(ROUTING_TOPIC, 0, begin)) {
      if (record.key?.toString() === migration) epochs.push(decodeRoutingRecord(record)?.epoch);
    }
    await reader.close();
    expect(epochs).toEqual([5, 3, 5]);
  });
});

describe('RoutingFollower', () => {
  function follow(migration: string, options: { brokers?: string[] } = {}) {
    const errors: Error[] = [];
    const follower = new RoutingFollower({
      connection: { brokers: options.brokers ?? connection.brokers, connectionTimeout: 1_000 },
      migration,
      clientId: uniqueName('follower'),
      onError: (error) => errors.push(error),
    });
    follower.reported(ALWAYS_REPORTED);
    onTestFinished(() => follower.stop());
    return { follower, errors };
  }

  it('starts with the newest state, or none, and tells each higher epoch', async () => {
    const migration = uniqueName('follow');
    const { follower } = follow(migration);
    await follower.start();
    expect(follower.state).toBeUndefined();
    expect(follower.leaseValid).toBe(true);

    const told: number[] = [];
    const unsubscribe = follower.onChange(({ epoch }) => told.push(epoch));
    for (const epoch of [1, 2, 5]) {
      await writer.write(routingState({ migration, epoch }));
      await until(`epoch ${epoch}`, () => follower.state?.epoch === epoch);
    }
    expect(told).toEqual([1, 2, 5]);
    unsubscribe();
    await writer.write(routingState({ migration, epoch: 6 }));
    await until('epoch 6', () => follower.state?.epoch === 6);
    expect(told).toEqual([1, 2, 5]);

    const late = follow(migration).follower;
    await late.start();
    expect(late.state?.epoch).toBe(6);
  });

  it('goes on behind a record that it cannot read, and says so', async () => {
    const migration = uniqueName('garbage');
    const { follower, errors } = follow(migration);
    await follower.start();
    const stray = new ReplaceableProducer({ connection, clientId: 'stray' });
    const messages = [{ key: migration, value: '{"version":9}', partition: 0 }];
    await stray.sendBatch({ topicMessages: [{ topic: ROUTING_TOPIC, messages }] }, 10_000);
    await stray.close();
    await writer.write(routingState({ migration, epoch: 1 }));
    await until('the state behind it', () => follower.state?.epoch === 1);
    expect(errors.map(({ name }) => name)).toContain('RoutingRecordError');
  });

  it.each(['cut', 'blackhole'] as const)('loses its lease when the link is %s, and regains it', async (how) => {
    const migration = uniqueName('lease');
    await writer.write(routingState({ migration, epoch: 1, leaseMs: 1_500 }));
    const link = await TcpProxy.to(connection.brokers[0] ?? '');
    onTestFinished(() => link.close());
    const { follower } = follow(migration, { brokers: [link.address] });
    await follower.start();
    const edges: boolean[] = [];
    follower.onLease((valid) => edges.push(valid));
    expect(follower.leaseValid).toBe(true);
    expect(follower.state?.epoch).toBe(1);
    link[how]();
    await until('the lease is over', () => !follower.leaseValid);
    await writer.write(routingState({ migration, epoch: 2, leaseMs: 1_500 }));
    expect(follower.state?.epoch).toBe(1);
    link.restore();
    await until('the lease is back', () => follower.leaseValid, 30_000);
    // The state of meanwhile is known before the lease is valid again.
    expect(follower.state?.epoch).toBe(2);
    await until('both edges', () => edges.length >= 2);
    expect(edges).toEqual([false, true]);
  });

  it('says what to do when the topic cannot be read', async () => {
    const { follower } = follow(uniqueName('nowhere'), { brokers: ['127.0.0.1:1'] });
    const start = follower.start({ timeoutMs: 500 });
    await expect(start).rejects.toBeInstanceOf(RoutingUnavailableError);
    await expect(start).rejects.toThrow(/start the worker first, or check the brokers/);
    expect(follower.leaseValid).toBe(false);
  });
});

describe('members', () => {
  it('report at intervals and at once, and the roster knows the last of each', async () => {
    const migration = uniqueName('members');
    const roster = new MemberRoster({ connection, clientId: 'roster' });
    await roster.start();
    onTestFinished(() => roster.stop());
    let epoch = 0;
    const reporters = ['a', 'b'].map(
      (instance) =>
        new MemberReporter({
          ...{ connection, instance, intervalMs: 100 },
          report: () => publisherReport(migration, instance, { epoch, leaseMs: 400 }),
        }),
    );
    const [a, b] = reporters;
    if (a === undefined || b === undefined) throw new Error('Two reporters were made.');
    await Promise.all([a.start(), b.start()]);
    // A start that resolved is a report that is there.
    await roster.readToEnd();
    expect(roster.members(migration).map(({ report }) => report.instance)).toEqual(['a', 'b']);
    epoch = 7;
    await Promise.all([a.now(), a.now(), a.now()]);
    await roster.readToEnd();
    expect(roster.members(migration)[0]?.report.epoch).toBe(7);
    await until('b reports by itself', () => roster.members(migration)[1]?.report.epoch === 7);
    await a.stop(publisherReport(migration, 'a', { epoch, state: 'left' }));
    await roster.readToEnd();
    expect(roster.members(migration)[0]?.report).toMatchObject({ state: 'left' });
    await until('a is silent', () => (roster.members(migration)[0]?.silentMs ?? 0) > 300);
    expect(roster.members(migration)[1]?.silentMs).toBeLessThan(roster.members(migration)[0]?.silentMs ?? 0);
    await b.stop(publisherReport(migration, 'b', { state: 'left' }));
  });

  it('that crash read as silent, and as themselves again when their name is used again', async () => {
    const migration = uniqueName('crashed');
    const roster = new MemberRoster({ connection, clientId: 'roster' });
    await roster.start();
    onTestFinished(() => roster.stop());
    const send = async (epoch: number): Promise<void> => {
      const producer = new ReplaceableProducer({ connection, clientId: 'a' });
      const report = publisherReport(migration, 'a', { epoch, leaseMs: 500 });
      // A later version may say more: this one reads what it knows.
      const value = JSON.stringify({ ...report, saidByALaterVersion: true });
      const messages = [{ key: `${migration}/a`, value, partition: 0 }];
      await producer.sendBatch({ topicMessages: [{ topic: MEMBERS_TOPIC, messages }] }, 10_000);
      await producer.close();
      await roster.readToEnd();
    };
    await send(3);
    await until('it is silent past its lease', () => (roster.members(migration)[0]?.silentMs ?? 0) > 500);
    expect(roster.members(migration)[0]?.report).toMatchObject({ epoch: 3, state: 'publishing' });
    await send(4);
    const [again, ...others] = roster.members(migration);
    expect(others).toEqual([]);
    expect(again?.report.epoch).toBe(4);
    expect(again?.silentMs).toBeLessThan(500);
  });
});
