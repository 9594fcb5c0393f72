import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Admin } from '@platformatic/kafka';
import type { Consumer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { deferred } from '../src/async/bounded.js';
import { kafkaGroups, owlmqGroups } from '../src/groups/group-standing.js';
import { matchGroups } from '../src/groups/match-groups.js';
import {
  ClusterAdmin,
  KafkaGroupNotEmptyError,
  KafkaOffsetsNotTakenError,
  UndecidedOffsetsError,
  type ListedKafkaGroup,
} from '../src/kafka/cluster-admin.js';
import { Legs, messages } from './audit-legs.js';
import { JavaConsumers, joinClassic, joinStreams } from './group-members.js';

let legs: Legs;
let admin: ClusterAdmin;
let raw: Admin;
let java: JavaConsumers;
let topic: string;
const [kip848, share] = [newGroup('kip848'), newGroup('share')];

beforeAll(async () => {
  legs = await Legs.start();
  admin = new ClusterAdmin(legs.connection, { clientId: 'groups-test', decidedWithinMs: 300 });
  raw = new Admin({ clientId: 'groups-test', bootstrapBrokers: legs.connection.brokers });
  java = new JavaConsumers(legs.connection.brokers);
  topic = await legs.topic(3);
  // A member whose position is past the end would commit another one by itself.
  await legs.toKafka(
    topic,
    messages(30).map((message, index) => ({ ...message, partition: index % 3 })),
  );
  await Promise.all([java.consumer(kip848, topic), java.shareConsumer(share, topic)]);
});
afterAll(async () => {
  await Promise.all([java.stop(), admin.close(), raw.close()]);
  await legs.stop();
});

function newGroup(name: string): string {
  return `${name}-${randomUUID()}`;
}

/** A kafkajs member that is in its group. It looks for a rebalance every `heartbeatMs`. */
async function joinedConsumer(groupId: string, heartbeatMs = 200): Promise<Consumer> {
  const consumer = legs.kafka.consumer({ groupId, maxWaitTimeInMs: 100, heartbeatInterval: heartbeatMs });
  const joined = deferred<undefined>();
  consumer.on(consumer.events.GROUP_JOIN, () => {
    joined.resolve(undefined);
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ autoCommit: false, eachMessage: () => Promise.resolve() });
  await joined.promise;
  return consumer;
}

/** Resolves when a broker has next answered a question about committed offsets. */
async function offsetsAnswered(): Promise<void> {
  const answered = deferred<undefined>();
  const look = (message: unknown): void => {
    if ((message as { apiKey?: number }).apiKey === 9) answered.resolve(undefined);
  };
  subscribe('tracing:plt:kafka:connections:api:asyncEnd', look);
  try {
    await answered.promise;
  } finally {
    unsubscribe('tracing:plt:kafka:connections:api:asyncEnd', look);
  }
}

describe('kinds of Kafka groups', () => {
  it('reads a classic group, empty or with members, and what was written beside its commits', async () => {
    const group = newGroup('classic');
    await admin.setGroupOffsets(group, [{ topic, partition: 2, offset: 7 }]);
    expect(await kafkaGroups(admin, [group])).toEqual([
      {
        ...{ group, leg: 'kafka', kind: 'classic', state: 'empty', members: [] },
        offsets: [{ topic, partition: 2, offset: 7 }],
      },
    ]);
    const consumer = await joinedConsumer(group);
    try {
      await consumer.commitOffsets([{ topic, partition: 0, offset: '3', metadata: 'state of an application' }]);
      const [standing] = await kafkaGroups(admin, [group]);
      expect(standing).toMatchObject({ kind: 'classic', state: 'stable' });
      expect(standing?.members).toEqual([
        { memberId: expect.any(String) as string, clientId: 'kafkajs', host: '127.0.0.1' },
      ]);
      expect(standing?.offsets.toSorted((a, b) => a.partition - b.partition)).toEqual([
        { topic, partition: 0, offset: 3, metadata: 'state of an application' },
        { topic, partition: 2, offset: 7 },
      ]);
      expect(standing?.refusal).toBeUndefined();
    } finally {
      await consumer.disconnect();
    }
  });

  it('reads a group in a rebalance', async () => {
    const group = newGroup('rebalancing');
    // The first member does not notice that another one waits to join.
    const consumers = [await joinedConsumer(group, 25_000)];
    const second = joinedConsumer(group);
    try {
      await vi.waitFor(async () => {
        const [standing] = await kafkaGroups(admin, [group]);
        expect(standing?.state).toBe('preparing-rebalance');
        expect(standing?.members).toHaveLength(2);
        expect(standing?.refusal).toBeUndefined();
      }, 10_000);
      await expect(admin.setGroupOffsets(group, { [topic]: [1] })).rejects.toThrow(KafkaGroupNotEmptyError);
    } finally {
      await Promise.all(consumers.map((consumer) => consumer.disconnect()));
      await (await second).disconnect();
    }
  });

  it('reads a live KIP-848 group, and refuses a share group', async () => {
    await vi.waitFor(
      async () => {
        const standings = await kafkaGroups(admin, [share, kip848]);
        expect(standings.map(({ group, kind, state }) => [group, kind, state])).toEqual([
          [share, 'share', 'stable'],
          [kip848, 'consumer', 'stable'],
        ]);
        expect(standings[1]?.members).toEqual([
          { memberId: expect.any(String) as string, clientId: 'console-consumer', host: '127.0.0.1' },
        ]);
        expect(standings[1]?.refusal).toBeUndefined();
        expect(standings[0]?.refusal).toMatch(/share group \(KIP-932\).*one by one/);
      },
      { timeout: 20_000, interval: 100 },
    );
  });

  it('refuses groups that are no consumers', async () => {
    const groups = [newGroup('connect'), newGroup('registry'), newGroup('streams')] as const;
    await joinClassic(raw, groups[0], 'connect');
    await joinClassic(raw, groups[1], 'sr');
    await joinStreams(raw, groups[2], topic);
    const standings = await kafkaGroups(admin, groups);
    expect(standings.map(({ kind }) => kind)).toEqual(['connect', 'other', 'streams']);
    expect(standings[0]).toMatchObject({
      state: 'completing-rebalance',
      refusal: expect.stringMatching(/Connect/) as string,
    });
    expect(standings[0]?.members).toHaveLength(1);
    expect(standings[1]?.refusal).toMatch(/no consumers.*"sr"/);
    expect(standings[2]?.refusal).toMatch(/Kafka Streams \(KIP-1071\)/);
  });

  it('tells an unknown group from one that is just removed', async () => {
    const [removed, unknown] = [newGroup('removed'), newGroup('unknown')];
    await admin.setGroupOffsets(removed, { [topic]: [1, 1, 1] });
    /** Between the list and the look at a group the group goes. */
    class Racing extends ClusterAdmin {
      override async listGroups(): Promise<ListedKafkaGroup[]> {
        const listed = await super.listGroups();
        await legs.admin.deleteGroups([removed]);
        return listed;
      }
    }
    const racing = new Racing(legs.connection, { clientId: 'groups-test' });
    onTestFinished(() => racing.close());
    expect(await kafkaGroups(racing, [removed])).toEqual([
      {
        ...{ group: removed, leg: 'kafka', kind: 'classic', state: 'dead', members: [], offsets: [] },
        refusal: expect.stringMatching(/again in a moment/) as string,
      },
    ]);
    expect(await kafkaGroups(admin, [removed, unknown])).toEqual(
      [removed, unknown].map((group) => ({
        ...{ group, leg: 'kafka', kind: 'unknown', state: 'unknown', members: [], offsets: [] },
      })),
    );
  });

  it('does not take a group for unknown that a broker which goes or comes has left out', async () => {
    const group = newGroup('left-out');
    await admin.setGroupOffsets(group, [{ topic, partition: 0, offset: 1 }]);
    let lists = 0;
    /** As a broker answers whose coordinator is just shut down. */
    class Forgetful extends ClusterAdmin {
      override async listGroups(): Promise<ListedKafkaGroup[]> {
        lists += 1;
        return lists === 1 ? [] : await super.listGroups();
      }
    }
    const forgetful = new Forgetful(legs.connection, { clientId: 'groups-test' });
    onTestFinished(() => forgetful.close());
    expect(await kafkaGroups(forgetful, [group])).toMatchObject([{ kind: 'classic', state: 'empty' }]);
  });

  it('refuses a group with a commit in an open transaction, also on a partition without an earlier one', async () => {
    const [known, fresh] = [newGroup('transaction'), newGroup('transaction')];
    await admin.setGroupOffsets(known, [{ topic, partition: 0, offset: 2 }]);
    const producer = legs.kafka.producer({ transactionalId: randomUUID(), idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    onTestFinished(() => producer.disconnect());
    const transaction = await producer.transaction();
    for (const consumerGroupId of [known, fresh]) {
      await transaction.sendOffsets({
        consumerGroupId,
        topics: [{ topic, partitions: [{ partition: 0, offset: '5' }] }],
      });
    }

    const standings = await kafkaGroups(admin, [known, fresh], { topics: { [topic]: 3 } });
    expect(standings.map(({ offsets }) => offsets)).toEqual([[{ topic, partition: 0, offset: 2 }], []]);
    for (const { refusal } of standings) expect(refusal).toContain(`transaction that is still open, on ${topic}/0`);
    await expect(admin.groupOffsets(known, { [topic]: 3 })).rejects.toThrow(UndecidedOffsetsError);

    const patient = new ClusterAdmin(legs.connection, { clientId: 'groups-test' });
    onTestFinished(() => patient.close());
    const asked = offsetsAnswered();
    const reading = kafkaGroups(patient, [known, fresh], { topics: { [topic]: 3 } });
    await asked;
    await transaction.commit();
    const decided = await reading;
    expect(decided.map(({ refusal, offsets }) => [refusal, offsets])).toEqual(
      Array.from({ length: 2 }, () => [undefined, [{ topic, partition: 0, offset: 5 }]]),
    );
  });

  it('reads a hundred groups in a handful of requests', async () => {
    const groups = Array.from({ length: 100 }, () => newGroup('many'));
    const set = groups.map((group, index) => admin.setGroupOffsets(group, { [topic]: [index, index + 1, index + 2] }));
    await Promise.all(set);
    let requests = 0;
    const count = (): void => void (requests += 1);
    subscribe('tracing:plt:kafka:connections:api:start', count);
    try {
      const standings = await kafkaGroups(admin, groups, { topics: { [topic]: 3 } });
      expect(standings.map(({ group }) => group)).toEqual(groups);
      expect(standings.map(({ offsets }) => offsets.map(({ offset }) => offset).sort((a, b) => a - b))).toEqual(
        groups.map((_, index) => [index, index + 1, index + 2]),
      );
    } finally {
      unsubscribe('tracing:plt:kafka:connections:api:start', count);
    }
    expect(requests).toBeGreaterThan(0);
    expect(requests).toBeLessThanOrEqual(8);
  });
});

describe('setting offsets in Kafka', () => {
  it('sets some partitions and leaves the others as they are', async () => {
    const group = newGroup('partial');
    await admin.setGroupOffsets(group, { [topic]: [1, 2, 3] });
    await admin.setGroupOffsets(group, [{ topic, partition: 1, offset: 9 }]);
    expect(await admin.groupOffsets(group, { [topic]: 3 })).toEqual({ [topic]: [1, 9, 3] });
  });

  it('names the members of a group that is not empty, and sets nothing', async () => {
    const group = newGroup('used');
    await admin.setGroupOffsets(group, { [topic]: [0, 0, 0] });
    const consumer = await joinedConsumer(group);
    try {
      const [standing] = await kafkaGroups(admin, [group]);
      const refused = admin.setGroupOffsets(group, { [topic]: [2, 2, 2] });
      await expect(refused).rejects.toThrow(KafkaGroupNotEmptyError);
      await expect(refused).rejects.toThrow(`kafkajs at 127.0.0.1, member ${standing?.members[0]?.memberId ?? ''}`);
      expect(await admin.groupOffsets(group, { [topic]: 3 })).toEqual({ [topic]: [0, 0, 0] });
    } finally {
      await consumer.disconnect();
    }
    await vi.waitFor(async () => {
      expect((await kafkaGroups(admin, [kip848]))[0]?.members).toHaveLength(1);
    }, 20_000);
    await expect(admin.setGroupOffsets(kip848, { [topic]: [2] })).rejects.toThrow(/console-consumer at 127\.0\.0\.1/);
  });

  it('says which partitions Kafka has not taken, and whether the others are set', async () => {
    const group = newGroup('refused');
    const partitions = [
      { topic, partition: 0, offset: 4 },
      { topic: 'no-such-topic', partition: 1, offset: 4 },
    ];
    const refused = admin.setGroupOffsets(group, partitions);
    await expect(refused).rejects.toThrow(KafkaOffsetsNotTakenError);
    await expect(refused).rejects.toThrow(/no-such-topic\/1.*The other partitions are set/);
    expect(await admin.groupOffsets(group, { [topic]: 1 })).toEqual({ [topic]: [4] });
    await vi.waitFor(async () => {
      expect((await kafkaGroups(admin, [share]))[0]?.kind).toBe('share');
    }, 20_000);
    await expect(admin.setGroupOffsets(share, { [topic]: [1] })).rejects.toThrow(/another kind.*Nothing is set/);
  });
});

it('reads groups of OwlMQ in the order given, with the ends that it tells', async () => {
  const [known, used, unknown] = [newGroup('known'), newGroup('used'), newGroup('unknown')];
  await legs.owlmq.setGroupOffsets(known, [{ topic, partition: 1, offset: 0 }]);
  const { memberId } = await legs.owlmq.joinGroup(used, {
    ...{ topics: [topic], clientId: 'payment-1', sessionTimeoutMs: 60_000, offsetReset: 'earliest' },
  });
  expect(await owlmqGroups(legs.owlmq, [unknown, used, known])).toEqual([
    { group: unknown, leg: 'owlmq', kind: 'unknown', state: 'unknown', members: [], offsets: [] },
    {
      ...{ group: used, leg: 'owlmq', kind: 'owlmq', state: 'stable' },
      members: [{ memberId, clientId: 'payment-1' }],
      offsets: expect.any(Array) as unknown[],
    },
    {
      ...{ group: known, leg: 'owlmq', kind: 'owlmq', state: 'empty', members: [] },
      offsets: [{ topic, partition: 1, offset: 0, endOffset: 0 }],
    },
  ]);
  await legs.owlmq.leaveGroup(used, memberId);
});

it('does not fail for a group of Kafka whose name OwlMQ does not take', async () => {
  const standings = await owlmqGroups(legs.owlmq, ['a name\nof two lines', newGroup('unknown')]);
  expect(standings.map(({ kind }) => kind)).toEqual(['unknown', 'unknown']);
  expect(standings[0]?.refusal).toMatch(/its name is none that OwlMQ takes/);
  expect(standings[1]?.refusal).toBeUndefined();
});

describe('patterns of groups', () => {
  const names = ['payment-service', 'payment', 'audit.eu', 'audit_eu', 'a*b', 'notification'];
  it.each([
    [['payment'], ['payment'], []],
    [['payment*'], ['payment-service', 'payment'], []],
    [['audit?eu'], ['audit.eu', 'audit_eu'], []],
    [['audit.eu'], ['audit.eu'], []],
    [['a*b'], ['a*b'], []],
    [['*'], names, []],
    [['payments', 'pay?', '*tion', 'notification'], ['notification'], ['payments', 'pay?']],
    [['(', '[x', ''], [], ['(', '[x', '']],
  ])('%j', (patterns, matched, unmatched) => {
    expect(matchGroups(patterns, names)).toEqual({ matched, unmatched });
  });
});
