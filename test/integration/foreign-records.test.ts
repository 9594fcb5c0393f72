import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { Kafka, logLevel, Partitioners, type Admin, type Producer } from 'kafkajs';
import { startOwlmqLocal, type OwlmqLocal } from '@owlmq/owlmq-local';
import {
  ClusterAdmin,
  LogReader,
  MemberRoster,
  OwlmqClient,
  readProvenance,
  RoutingWriter,
  type TopicOffsets,
} from '@owlmq/kafka-bridge/operations';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { AuditOutcome, Fences, MigrationActivities } from '../../src/activities/migration-activities.js';
import { drainedAs } from '../../src/workflows/fleet-steps.js';

/**
 * The steps of the worker that see to a producer without the library, on a real Kafka and a real owlmq-local, in the
 * order in which the playbook runs them. What is written while nobody audits is so at a known moment.
 */
describe('records of a plain kafkajs producer', () => {
  const clientId = 'foreign-records-test';
  const groups = [`ahead-${randomUUID()}`, `behind-${randomUUID()}`] as const;
  const migration = `foreign-${randomUUID()}`;
  const topic = `foreign-records-${randomUUID()}`;
  const common = { migration, topics: [topic], graceMs: 60_000 };
  let folder: string;
  let server: OwlmqLocal;
  let kafkaAdmin: Admin;
  let producer: Producer;
  let admin: ClusterAdmin;
  let reader: LogReader;
  let roster: MemberRoster;
  let routing: RoutingWriter;
  let owlmq: OwlmqClient;
  let steps: MigrationActivities;
  let written = 0;

  beforeAll(async () => {
    const brokers = brokersOfTest();
    folder = await mkdtemp(join(tmpdir(), 'foreign-records-'));
    server = await startOwlmqLocal({ data: folder, apiKeys: ['test-key'] });
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
    kafkaAdmin = kafka.admin();
    producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await Promise.all([kafkaAdmin.connect(), producer.connect()]);
    const connection = { brokers };
    admin = new ClusterAdmin(connection, { clientId });
    reader = new LogReader(connection, { clientId });
    routing = new RoutingWriter({ connection, clientId });
    await routing.ensureTopics();
    roster = new MemberRoster({
      connection,
      clientId,
      onError: (error) => {
        throw error;
      },
    });
    await roster.start();
    owlmq = new OwlmqClient({ url: server.url, apiKey: 'test-key' });
    await kafkaAdmin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
    await owlmq.createTopic(topic, 1);
    const temporal = () => Promise.resolve({ namespace: 'default', searchAttributes: [], retentionMs: undefined });
    steps = createActivities({ kafka: connection, admin, reader, routing, roster, owlmq, temporal });
  });

  afterAll(async () => {
    await kafkaAdmin.deleteTopics({ topics: [topic] });
    await roster.stop();
    await Promise.all([kafkaAdmin.disconnect(), producer.disconnect(), admin.close(), reader.close(), routing.close()]);
    await owlmq.close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  async function write(count: number): Promise<void> {
    const messages = Array.from({ length: count }, () => ({ key: `key-${written % 5}`, value: `value ${written++}` }));
    await producer.send({ topic, messages });
  }

  /** As the worker runs a step. */
  async function step<R>(run: () => Promise<R>): Promise<R> {
    return await new MockActivityEnvironment({ scheduledTimestampMs: Date.now() }).run(run);
  }

  async function kafkaEnds(): Promise<TopicOffsets> {
    return { [topic]: await reader.ends(topic) };
  }

  async function owlmqEnds(): Promise<TopicOffsets> {
    return { [topic]: ((await owlmq.describeTopic(topic))?.partitions ?? []).map(({ endOffset }) => endOffset) };
  }

  /** Both legs hold every record once, in the order in which it was written, and nothing else. */
  async function expectEachOnce(): Promise<void> {
    const values = Array.from({ length: written }, (_, index) => `value ${index}`);
    const ids = values.map((_, index) => `${topic}/0/${index}`);
    const { records } = await owlmq.read(topic, 0, 0, { maxRecords: 500 });
    expect(records.map(({ id }) => id)).toEqual(ids);
    expect(records.map(({ value }) => value?.toString())).toEqual(values);
    for (const [offset, { headers }] of records.entries()) {
      const provenance = readProvenance(Object.fromEntries(headers));
      expect(provenance).toMatchObject({ via: 'forward', source: { leg: 'kafka', partition: 0, offset } });
    }
    // No echo.
    expect((await kafkaEnds())[topic]).toEqual([written]);
  }

  function expectForwarded({ figures }: AuditOutcome, count: number): void {
    expect(figures).toMatchObject({
      missing: 0,
      repaired: 0,
      foreign: { [topic]: count },
      forwarded: { [topic]: count },
    });
  }

  it('finds a group that has the name of a shadow, where noise is to be measured', async () => {
    const shadow = new Kafka({ brokers: brokersOfTest(), logLevel: logLevel.NOTHING }).consumer({
      groupId: `${groups[0]}.shadow`,
      maxWaitTimeInMs: 200,
    });
    await shadow.connect();
    await shadow.subscribe({ topics: [topic] });
    const joined = new Promise((resolve) => shadow.on(shadow.events.GROUP_JOIN, resolve));
    try {
      await shadow.run({ eachMessage: () => Promise.resolve() });
      await joined;
      const request = { migration, topics: [topic], groups: [...groups], forward: [], retentionNeededMs: 1_000 };
      const found = async (noise: boolean): Promise<string[]> => {
        const { findings } = await steps.preflight({ ...request, noise });
        return findings.map(({ what }) => what).filter((what) => what.includes('.shadow'));
      };
      expect(await found(true)).toEqual([expect.stringContaining(`Group ${groups[0]}.shadow has members in Kafka`)]);
      expect(await found(false)).toEqual([]);
    } finally {
      await shadow.disconnect();
    }
  });

  it('finds groups that there are not, and such that OwlMQ cannot keep all of', async () => {
    const groupId = `metadata-${randomUUID()}`;
    const kafka = new Kafka({ brokers: brokersOfTest(), logLevel: logLevel.NOTHING });
    const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic] });
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
    try {
      await consumer.run({ eachMessage: () => Promise.resolve() });
      await joined;
      await consumer.commitOffsets([{ topic, partition: 0, offset: '0', metadata: 'state of a task' }]);
      const given = { migration, topics: [topic], forward: [], retentionNeededMs: 1_000 };
      const { findings } = await steps.preflight({ ...given, groups: [groupId, 'nobody'] });
      const told = findings.filter(({ what }) => what.includes(groupId) || what.includes('nobody'));
      expect(told.map(({ kind, what }) => `${kind}: ${what}`)).toEqual([
        `warning: Group ${groupId} has members in Kafka that do not report to this migration: kafkajs at 127.0.0.1.`,
        `warning: Group ${groupId} keeps metadata with its commits, and OwlMQ keeps none.`,
        'input: Consumer group nobody does not exist in Kafka.',
      ]);
    } finally {
      await consumer.disconnect();
    }
  });

  it('are on OwlMQ once each, over the cutover, the time without an audit behind it, and the way back', async () => {
    // The ramp at 100%: beside the phases, and as a proof.
    const forward = { topics: [topic], ratio: 1 };
    await write(20);
    const beside = await step(() =>
      steps.watchAudit({
        ...common,
        from: { [topic]: [0] },
        forward,
        sliceMs: 500,
      }),
    );
    expectForwarded(beside, 20);
    expect(beside.alarmed).toBe(false);
    expect(beside.foreignAgoMs[topic]).toBeLessThan(60_000);
    await expectEachOnce();

    // The window: the fence is where Kafka ends, and the producer writes on. One group was slow to read the drain.
    const fence = await kafkaEnds();
    await write(5);
    await admin.setGroupOffsets(groups[0], { [topic]: [23] });
    await admin.setGroupOffsets(groups[1], { [topic]: [20] });
    const drain = { migration, leg: 'kafka' as const, groups: [...groups], offsets: fence };
    const { furthest: reached, behind } = drainedAs(await step(() => steps.awaitDrained(drain)));
    expect(behind).toEqual({});
    expect(reached).toEqual({ [topic]: [23] });
    const { checkpoint } = beside;
    const proven = await step(() =>
      steps.auditToOwlmq({
        ...common,
        checkpoint,
        forward,
        until: reached,
      }),
    );
    expectForwarded(proven, 23);
    const fences: Fences = { kafka: reached, owlmq: await owlmqEnds() };
    const request = { topics: [topic], groups: [...groups], fences, reset: 'earliest' as const };
    const moves = await step(() => steps.moveOffsets({ direction: 'to-owlmq', ...request }));
    for (const move of moves) expect(move).toMatchObject({ exact: 1, bounded: 0, redeliveries: 0 });
    expect(await committed(groups[0])).toBe(23);
    expect(await committed(groups[1])).toBe(20);

    // Behind the journal nobody audits: a member that does not follow keeps the switch waiting.
    await write(7);
    expect((await owlmqEnds())[topic]).toEqual([23]);
    // Warm.
    const warm = await step(() =>
      steps.watchWarm({
        ...common,
        groups: [...groups],
        from: fences,
        sliceMs: 500,
      }),
    );
    expect(warm.rollbackBlockers).toEqual([]);
    expectForwarded(warm.audit, 9);
    await expectEachOnce();

    // The way back: what groups have consumed on OwlMQ does not come again, what they have not does.
    await write(4);
    const home = { ...common, from: fences, toEnd: true };
    const caughtUp = await step(() =>
      steps.auditToKafka({
        ...home,
        checkpoint: warm.audit.checkpoint,
      }),
    );
    for (const group of groups) {
      await owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: written }]);
    }
    await write(3);
    const last = await step(() => steps.auditToKafka({ ...home, checkpoint: caughtUp.checkpoint }));
    expectForwarded(last, 16);
    const back = await step(() =>
      steps.moveOffsets({
        direction: 'to-kafka',
        ...request,
        audited: [last.checkpoint],
      }),
    );
    for (const move of back) expect(move).toMatchObject({ exact: 1, bounded: 0, redeliveries: 0 });
    for (const group of groups)
      expect(await admin.groupOffsets(group, { [topic]: 1 })).toEqual({ [topic]: [written - 3] });
    await expectEachOnce();

    // With OwlMQ dead: from where groups were when it last answered, which the warm period has noted.
    await step(() => steps.watchWarm({ ...common, groups: [...groups], from: fences, sliceMs: 500 }));
    const begin = Object.fromEntries(groups.map((group) => [group, { [topic]: [0] }]));
    const since = (fence: TopicOffsets) => step(() => steps.restoreKafkaOffsets({ migration, fence, groups: begin }));
    expect(await since(fences.kafka)).toEqual({
      redeliveriesAtMost: 3 * groups.length,
      positionsAt: expect.stringMatching(/^20/) as unknown,
    });
    for (const group of groups)
      expect(await admin.groupOffsets(group, { [topic]: 1 })).toEqual({ [topic]: [written - 3] });
    // What was noted after another cutover does not count.
    const another = { [topic]: [1] };
    expect(await since(another)).toEqual({ redeliveriesAtMost: written * groups.length, positionsAt: null });
  });

  async function committed(group: string): Promise<number | undefined> {
    return (await owlmq.describeGroup(group))?.offsets[0]?.offset;
  }
});

function brokersOfTest(): string[] {
  const brokers = process.env.KAFKA_BROKERS?.split(',');
  if (brokers === undefined) throw new Error('KAFKA_BROKERS is not set');
  return brokers;
}
