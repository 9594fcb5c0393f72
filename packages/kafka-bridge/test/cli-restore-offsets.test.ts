import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { PositionWriter } from '../src/offsets/position-log.js';
import { ensureBridgeTopics } from '../src/routing/bridge-topics.js';
import { Legs, messages } from './audit-legs.js';
import { runHere } from './cli-harness.js';

const clientId = 'restore-offsets-test';

describe('restore-offsets', () => {
  const migration = `restore-${randomUUID()}`;
  const [payments, mails] = [`payments-${randomUUID()}`, `mails-${randomUUID()}`];
  let legs: Legs;
  let admin: ClusterAdmin;
  let topic: string;
  beforeAll(async () => {
    legs = await Legs.start();
    admin = new ClusterAdmin(legs.connection, { clientId });
    await ensureBridgeTopics(legs.connection, clientId);
    topic = await legs.topic(2);
    await legs.toKafka(topic, messages(10));
    await legs.toKafka(topic, messages(10, { partition: 1 }));
    // Two watches share the partitions; the first one's worker was killed, and an earlier cutover's notes are there still.
    await note('earlier', '[0]', [[payments, 0, 9]]);
    await note('this', '[0]', [
      [payments, 0, 3],
      [mails, 0, 10],
    ]);
    await note('this', '[0]', [
      [payments, 0, 6],
      [mails, 0, 10],
    ]);
    await note('this', '[1]', [
      [payments, 1, 8],
      [mails, 1, 10],
    ]);
  });
  afterAll(async () => {
    await admin.close();
    await legs.stop();
  });

  async function note(cutover: string, part: string, positions: [group: string, partition: number, offset: number][]) {
    const errors: Error[] = [];
    const onError = (error: Error) => errors.push(error);
    const writer = new PositionWriter({ connection: legs.connection, clientId, migration, cutover, part, onError });
    await writer.write(
      positions.map(([group, partition, offset]) => ({ group, topic, partition, offset })),
      new Date(),
    );
    await writer.close();
    expect(errors).toEqual([]);
  }

  const run = (args: string[], ask?: () => Promise<string>) =>
    runHere(['restore-offsets', '--kafka-brokers', legs.connection.brokers.join(','), ...args], ask);
  const committed = async (group: string) => (await admin.groupOffsets(group, { [topic]: 2 }))[topic];

  it('sets groups to what was noted last, never below what they have committed on Kafka, and says what may come again', async () => {
    const dry = await run([migration, '--dry-run', '--output', 'json']);
    expect(dry.code).toBe(3);
    expect(JSON.parse(dry.out)).toMatchObject({ dryRun: true, set: [], redeliveriesAtMost: 6 });
    expect(await committed(payments)).toEqual([undefined, undefined]);

    await admin.setGroupOffsets(payments, [{ topic, partition: 1, offset: 9 }]);
    const refused = await run([migration], () => Promise.resolve('no'));
    expect([refused.code, await committed(payments)]).toEqual([4, [undefined, 9]]);
    const set = await run([migration, '--yes']);
    expect([set.code, set.err]).toEqual([3, '']);
    expect(set.out).toMatch(new RegExp(`${payments}\\s+${topic}\\s+2\\s+5\\n`));
    expect([await committed(payments), await committed(mails)]).toEqual([
      [6, 9],
      [10, 10],
    ]);
    // Again, nothing changes; a group without anything to come again is done exactly.
    expect((await run([migration, '--yes'])).code).toBe(3);
    expect(await committed(payments)).toEqual([6, 9]);
    expect((await run([migration, '--groups', 'mails-*', '--yes'])).code).toBe(0);
  });

  it('sets no position that the log does not hold', async () => {
    const other = `cut-${randomUUID()}`;
    const writer = new PositionWriter({
      ...{ connection: legs.connection, clientId, migration: other, cutover: 'c', part: 'all' },
      onError: (error) => {
        throw error;
      },
    });
    const group = `cut-${randomUUID()}`;
    const noted = [
      { group, topic, partition: 0, offset: 11 },
      { group, topic, partition: 1, offset: 1 },
    ];
    await writer.write(noted, new Date());
    await writer.close();
    await legs.retain(topic, 2, 1);
    const { code, out } = await run([other, '--yes', '--output', 'json']);
    // Of a topic that was made anew nothing is known; what retention took is gone.
    expect([code, await committed(group)]).toEqual([3, [0, 2]]);
    expect(JSON.parse(out)).toMatchObject({ redeliveriesAtMost: 18 });
  });

  it('refuses what it cannot do, in words', async () => {
    expect(await run([migration])).toMatchObject({ code: 2, err: expect.stringContaining('give --yes') as unknown });
    const unknown = await run(['no-such-migration', '--yes']);
    expect(unknown).toMatchObject({ code: 4, err: expect.stringContaining('No positions were noted') as unknown });
    const group = await run([migration, '--groups', 'other', '--yes']);
    expect(group).toMatchObject({
      code: 4,
      err: expect.stringContaining(`There are: ${mails}, ${payments}`) as unknown,
    });

    const consumer = legs.kafka.consumer({ groupId: payments, maxWaitTimeInMs: 100 });
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
    try {
      // It comes while a person makes up his mind.
      const late = await run([migration], async () => {
        await consumer.connect();
        await consumer.subscribe({ topic });
        await consumer.run({ eachMessage: () => Promise.resolve() });
        await joined;
        return 'yes';
      });
      expect(late.code).toBe(4);
      expect(late.err).toMatch(
        new RegExp(`^kafka-bridge: Kafka group ${payments} still has members .*: stop them first`),
      );
      expect(late.out).toContain(`${mails}: set, and read back.`);
      const used = await run([migration, '--yes']);
      expect(used).toMatchObject({
        code: 4,
        err: expect.stringContaining(`${payments} is in use on Kafka`) as unknown,
      });
    } finally {
      await consumer.disconnect();
    }
  });
});
