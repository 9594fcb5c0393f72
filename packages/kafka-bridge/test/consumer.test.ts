import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DualConsumer, type DualConsumerOptions } from '../src/consumer/dual-consumer.js';
import type { ConsumedMessage } from '../src/consumer/consumed-message.js';
import type { ConsumerReport } from '../src/members/member-report.js';
import { RoutingFollower } from '../src/routing/routing-follower.js';
import { TcpProxy } from './tcp-proxy.js';
import { Bench, until } from './consumer-harness.js';
import { ALWAYS_REPORTED } from './publisher-fixture.js';

interface Applied {
  id: string;
  value: string;
  member: string;
  side: 'kafka' | 'owlmq';
}

describe('DualConsumer', () => {
  let bench: Bench;
  const applied: Applied[] = [];
  const errors: Error[] = [];
  const consumers: DualConsumer<string>[] = [];

  beforeEach(async () => {
    applied.length = 0;
    errors.length = 0;
    bench = await Bench.open();
  });

  afterEach(async () => {
    await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    await bench.close();
  });

  async function member(
    name: string,
    change: Partial<DualConsumerOptions<string>> = {},
  ): Promise<DualConsumer<string>> {
    const consumer = new DualConsumer<string>({
      ...bench.options(),
      process: (message) => message.value?.toString() ?? '',
      apply: (value, message) => {
        // Before the copy's position is known only on OwlMQ, where the source header names the Kafka offset.
        const side = message.position.owlmq === undefined ? 'kafka' : 'owlmq';
        applied.push({ id: message.id, value, member: name, side });
      },
      onError: (error) => errors.push(error),
      ...change,
    });
    consumers.push(consumer);
    await consumer.start();
    return consumer;
  }

  function messages(from: number, count: number): { key: string; value: string }[] {
    return Array.from({ length: count }, (_, index) => ({
      key: `k${(from + index) % 7}`,
      value: String(from + index),
    }));
  }

  const values = (): number[] => applied.map(({ value }) => Number(value));
  const sorted = (list: number[]): number[] => [...list].sort((a, b) => a - b);
  const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
  const untilApplied = (count: number): Promise<boolean> =>
    until(
      () => (applied.length >= count ? true : undefined),
      () => `${applied.length} of ${count} applied`,
    );

  /** The members' reports of after they have read an epoch, which they need not have applied. */
  async function untilFollowed(epoch: number): Promise<ConsumerReport[]> {
    const follower = new RoutingFollower({
      connection: bench.connection,
      migration: bench.migration,
      clientId: 'test',
    });
    follower.reported(ALWAYS_REPORTED);
    await follower.start();
    expect(follower.state?.epoch).toBe(epoch);
    await follower.stop();
    // Members read within a second, and report within another.
    const first = new Map((await bench.reports()).map((report) => [report.instance, report.at]));
    const due = Math.max(...[...first.values()].map((at) => Date.parse(at))) + 2_500;
    return await bench.untilReports(first.size, ({ at }) => Date.parse(at) > due);
  }

  async function committed(): Promise<(number | undefined)[]> {
    return (await bench.admin.groupOffsets(bench.group, { [bench.topic]: bench.partitions }))[bench.topic] ?? [];
  }

  it('is a plain Kafka consumer without a migration', async () => {
    const consumer = new DualConsumer<string>({
      kafka: bench.connection,
      groupId: bench.group,
      topics: [bench.topic],
      fromBeginning: true,
      process: (message) => message.value?.toString() ?? '',
      apply: (value, message) => {
        applied.push({ id: message.id, value, member: 'a', side: 'kafka' });
      },
    });
    consumers.push(consumer);
    await consumer.start();
    await bench.publish(messages(0, 50));
    await untilApplied(50);
    expect(sorted(values())).toEqual(range(50));
    const ends = await bench.reader.ends(bench.topic);
    await until(async () => ((await committed()).every((offset, index) => offset === ends[index]) ? true : undefined));
  });

  it('drains to offsets and goes on live on OwlMQ, nothing lost, nothing applied twice', async () => {
    await bench.route({});
    await Promise.all([member('a'), member('b')]);
    await bench.publish(messages(0, 300));
    await untilApplied(300);
    await bench.publish(messages(300, 300));
    const ends = await bench.reader.ends(bench.topic);
    const fence = await bench.route({ drain: { [bench.topic]: ends }, fence: { reason: 'test' } });
    const drained = await bench.untilReports(2, (report) => report.state === 'drained' && report.epoch === fence.epoch);
    expect(await committed()).toEqual(ends);
    expect(drained.flatMap(({ live }) => live[bench.topic] ?? []).sort(([a], [b]) => a - b)).toEqual(
      ends.map((offset, partition) => [partition, offset]),
    );
    expect(sorted(values())).toEqual(range(600));

    // After the drain offsets: copied to OwlMQ, and not to be applied from Kafka.
    await bench.publish(messages(600, 200));
    const description = await bench.owlmq.describeTopic(bench.topic);
    await bench.owlmq.setGroupOffsets(
      bench.group,
      (description?.partitions ?? []).map(({ partition }) => ({
        topic: bench.topic,
        partition,
        // The copies were written in Kafka's order: offsets are equal.
        offset: ends[partition] ?? 0,
      })),
    );
    const cutover = await bench.route({ live: 'owlmq', primary: 'owlmq' }, ['drain', 'fence']);
    await bench.untilReports(2, (report) => report.state === 'live-owlmq' && report.epoch === cutover.epoch);
    await untilApplied(800);
    await bench.publish(messages(800, 100));
    await untilApplied(900);
    expect(sorted(values())).toEqual(range(900));
    expect(new Set(applied.slice(600).map(({ side }) => side))).toEqual(new Set(['owlmq']));
    expect((await bench.admin.describeGroup(bench.group)).members).toEqual([]);
    expect(errors).toEqual([]);
  });

  it('stops after the message in hand, and comes back to Kafka', async () => {
    await bench.route({ live: 'owlmq', primary: 'owlmq' });
    await bench.publish(messages(0, 100));
    await member('a');
    await untilApplied(100);
    const stop = await bench.route({ drain: 'stop' });
    await bench.untilReports(1, (report) => report.state === 'drained' && report.epoch === stop.epoch);
    await bench.publish(messages(100, 50));
    const offsets = (await bench.owlmq.describeGroup(bench.group))?.offsets ?? [];
    expect(offsets.reduce((sum, { offset }) => sum + offset, 0)).toBe(100);
    await bench.admin.setGroupOffsets(bench.group, {
      [bench.topic]: range(bench.partitions).map(
        (partition) => offsets.find((one) => one.partition === partition)?.offset ?? 0,
      ),
    });
    const back = await bench.route({ live: 'kafka', primary: 'kafka' }, ['drain']);
    await bench.untilReports(1, (report) => report.state === 'live-kafka' && report.epoch === back.epoch);
    await untilApplied(150);
    expect(sorted(values())).toEqual(range(150));
    expect((await bench.owlmq.describeGroup(bench.group))?.members).toEqual([]);
  });

  it('comes to a stop, and back to Kafka, although OwlMQ is dead', async () => {
    await bench.close();
    bench = await Bench.open(3, 'process');
    await bench.route({ live: 'owlmq', primary: 'owlmq' });
    await bench.publish(messages(0, 100));
    await Promise.all([member('a'), member('b')]);
    await untilApplied(100);
    await bench.stopOwlmq();
    await bench.untilReports(2, (report) => report.state === 'idle');
    // With offsets to reach it must not claim that it has committed them.
    const ends = await bench.reader.ends(bench.topic);
    const drain = await bench.route({ drain: { [bench.topic]: ends } });
    await bench.publish(messages(100, 50), { copy: false });
    const control = await untilFollowed(drain.epoch);
    expect(control.every(({ state, epoch }) => state === 'idle' && epoch < drain.epoch)).toBe(true);

    const stop = await bench.route({ drain: 'stop' });
    await bench.untilReports(2, (report) => report.state === 'drained' && report.epoch === stop.epoch);
    expect(applied).toHaveLength(100);
    // From the last known positions: what came since is delivered again, or dropped by its id.
    await bench.admin.setGroupOffsets(bench.group, { [bench.topic]: range(bench.partitions).map(() => 0) });
    const back = await bench.route({ live: 'kafka', primary: 'kafka' }, ['drain']);
    await bench.untilReports(2, (report) => report.state === 'live-kafka' && report.epoch === back.epoch);
    await until(() => (new Set(values()).size === 150 ? true : undefined));
    expect(sorted([...new Set(values())])).toEqual(range(150));
  }, 120_000);

  it('goes on without a lease once Kafka is decommissioned, when Kafka is gone', async () => {
    const link = await TcpProxy.to(bench.connection.brokers[0] ?? '');
    const kafka = { ...bench.connection, brokers: [link.address] };
    try {
      const warm = await bench.route({ live: 'owlmq', primary: 'owlmq', leaseMs: 1_500 });
      await bench.writer.write({ ...warm, migration: `${warm.migration}-warm` });
      const leaseholder = new RoutingFollower({
        connection: kafka,
        migration: `${warm.migration}-warm`,
        clientId: 'test',
      });
      leaseholder.reported(ALWAYS_REPORTED);
      await leaseholder.start();
      await member('a', { kafka });
      await bench.publish(messages(0, 20));
      await untilApplied(20);
      const last = await bench.route({ mirror: false });
      await bench.untilReports(1, (report) => report.state === 'live-owlmq' && report.epoch === last.epoch);
      expect(leaseholder.leaseValid).toBe(true);
      link.cut();
      await until(() => (leaseholder.leaseValid ? undefined : true));
      await bench.publish(messages(20, 20));
      await untilApplied(40);
      await leaseholder.stop();
      link.restore();
      await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    } finally {
      await link.close();
    }
  });

  it.each(['kafka', 'owlmq'] as const)(
    'members come and go on %s under load: nothing lost or applied twice',
    async (live) => {
      await bench.route(live === 'kafka' ? {} : { live, primary: 'owlmq' });
      const slow: Partial<DualConsumerOptions<string>> = {
        apply: async (value, message) => {
          await new Promise((resolve) => setTimeout(resolve, 2));
          applied.push({ id: message.id, value, member: '', side: live });
        },
      };
      const first = await member('a', slow);
      await bench.publish(messages(0, 300));
      await untilApplied(20);
      const second = await member('b', slow);
      await bench.publish(messages(300, 300));
      await untilApplied(200);
      await member('c', slow);
      await first.stop();
      await untilApplied(500);
      await second.stop();
      await untilApplied(600);
      expect(sorted(values())).toEqual(range(600));
      const byKey = new Map<number, number[]>();
      for (const value of values()) byKey.set(value % 7, [...(byKey.get(value % 7) ?? []), value]);
      for (const list of byKey.values()) expect(list).toEqual(sorted(list));
      expect(errors).toEqual([]);
    },
  );

  it('keeps its place in the group while a handler takes longer than the session', async () => {
    await bench.route({});
    const consumer = {
      // The least that the broker takes.
      sessionTimeout: 6_000,
    };
    let slept = false;
    await member('a', {
      consumer,
      apply: async (value, message) => {
        if (!slept) {
          slept = true;
          await new Promise((resolve) => setTimeout(resolve, 8_000));
        }
        applied.push({ id: message.id, value, member: 'a', side: 'kafka' });
      },
    });
    await bench.publish(range(3).map((value) => ({ key: 'k1', value: String(value) })));
    await untilApplied(3);
    expect(values()).toEqual([0, 1, 2]);
    expect(errors).toEqual([]);
  });

  it('drains behind the control records of a transaction', async () => {
    await bench.route({});
    const transactional = new DualConsumerTransaction(bench);
    await transactional.send(messages(0, 10));
    await member('a');
    await untilApplied(10);
    const ends = await bench.reader.ends(bench.topic);
    expect(ends.reduce((sum, end) => sum + end, 0)).toBeGreaterThan(10);
    const fence = await bench.route({ drain: { [bench.topic]: ends } });
    await bench.untilReports(1, (report) => report.state === 'drained' && report.epoch === fence.epoch);
    expect(await committed()).toEqual(ends);
  });

  it('a member that joins during a drain drains what it is given', async () => {
    await bench.route({});
    await member('a');
    await bench.publish(messages(0, 60));
    await untilApplied(60);
    const ends = await bench.reader.ends(bench.topic);
    const fence = await bench.route({ drain: { [bench.topic]: ends } });
    await bench.untilReports(1, (report) => report.state === 'drained' && report.epoch === fence.epoch);
    await bench.publish(messages(60, 60));
    await member('b');
    const both = await bench.untilReports(2, (report) => report.state === 'drained' && report.epoch === fence.epoch);
    await until(async () => {
      const counts = (await bench.reports()).map(({ live }) => (live[bench.topic] ?? []).length);
      return counts.every((count) => count > 0) ? true : undefined;
    });
    expect(both).toHaveLength(2);
    expect(applied).toHaveLength(60);
  });

  it('never skips a message that cannot be applied', async () => {
    await bench.route({});
    const stuck = await member('a', {
      retry: { attempts: 2, initialDelayMs: 1, maxDelayMs: 2 },
      apply: (value, message) => {
        if (value === '4') throw new Error('no');
        applied.push({ id: message.id, value, member: 'a', side: 'kafka' });
      },
    });
    // One key: all in one partition.
    await bench.publish(range(10).map((value) => ({ key: 'k1', value: String(value) })));
    await bench.untilReports(1, (report) => report.failed === 1);
    await stuck.stop();
    expect(values()).toEqual([0, 1, 2, 3]);
    expect((await committed())[1]).toBe(4);
    expect(errors.map(({ name }) => name)).toEqual(['HandlerFailedError']);
    consumers.length = 0;
    await member('c');
    await untilApplied(10);
    expect(sorted(values())).toEqual(range(10));
  });

  it('skips a failed message when told to', async () => {
    await bench.route({});
    await member('a', {
      retry: { attempts: 3, initialDelayMs: 1, maxDelayMs: 2 },
      onFailure: ({ attempts }) => {
        expect(attempts).toBe(3);
        return 'skip';
      },
      process: (message: ConsumedMessage) => {
        if (message.value?.toString() === '4') throw new Error('no');
        return message.value?.toString() ?? '';
      },
    });
    await bench.publish(range(10).map((value) => ({ key: 'k1', value: String(value) })));
    await untilApplied(9);
    expect(sorted(values())).toEqual(range(10).filter((value) => value !== 4));
  });

  it('does not follow a migration that does not name its group', async () => {
    await bench.route({ groups: ['another'], live: 'owlmq' });
    await member('a');
    await bench.publish(messages(0, 20));
    await untilApplied(20);
    expect(errors.map(({ name }) => name)).toContain('RoutingDoesNotCoverError');
    expect(await bench.untilReports(1, (report) => report.state === 'live-kafka')).toMatchObject([{ epoch: 0 }]);
  });
});

/** Writes in a transaction, which leaves a control record behind in each partition. */
class DualConsumerTransaction {
  constructor(private readonly bench: Bench) {}

  async send(list: { key: string; value: string }[]): Promise<void> {
    const { Kafka } = await import('kafkajs');
    const producer = new Kafka(this.bench.connection).producer({
      transactionalId: `tx-${this.bench.suffix}`,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    const transaction = await producer.transaction();
    await transaction.send({ topic: this.bench.topic, messages: list });
    await transaction.commit();
    await producer.disconnect();
  }
}
