import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MirrorAudit } from '../src/audit/mirror-audit.js';
import { ClusterAdmin, KafkaGroupNotEmptyError } from '../src/kafka/cluster-admin.js';
import { importToKafka, importToOwlmq, OffsetsRefusedError } from '../src/offsets/import.js';
import { translateToKafka, type TranslateToKafkaOptions } from '../src/offsets/translate-to-kafka.js';
import { translateToOwlmq, type TranslateToOwlmqOptions } from '../src/offsets/translate-to-owlmq.js';
import type { OffsetTranslation } from '../src/offsets/translation.js';
import { OwlmqGroupNotEmptyError } from '../src/owlmq/owlmq-errors.js';
import { Legs, messages, type TestMessage } from './audit-legs.js';
import { consumeKafka, consumeOwlmq } from './group-consumers.js';

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

describe('offset translation on both legs', () => {
  let legs: Legs;
  let admin: ClusterAdmin;
  beforeAll(async () => {
    legs = await Legs.start();
    admin = new ClusterAdmin(legs.connection, { clientId: 'offsets-test' });
  });
  afterAll(async () => {
    await admin.close();
    await legs.stop();
  });

  const newGroup = () => `offsets-test-${randomUUID()}`;

  async function toOwlmq(group: string, topic: string, options: Partial<TranslateToOwlmqOptions> = {}) {
    const { connection, owlmq } = legs;
    const [result] = await translateToOwlmq({
      connection,
      owlmq,
      groups: [group],
      topics: [topic],
      graceMs: 0,
      ...options,
    });
    expect(result?.group).toBe(group);
    return result?.partitions ?? [];
  }

  async function toKafka(group: string, topic: string, options: Partial<TranslateToKafkaOptions> = {}) {
    const { connection, owlmq } = legs;
    const count = (await legs.reader.bounds(topic)).length;
    const kafkaFrom = { [topic]: new Array<number>(count).fill(0) };
    const given = { connection, owlmq, groups: [group], topics: [topic], graceMs: 0, kafkaFrom, ...options };
    const [result] = await translateToKafka(given);
    return result?.partitions ?? [];
  }

  function withPartitions(count: number, partitions: number): TestMessage[] {
    return messages(count).map((message, index) => ({ ...message, partition: index % partitions }));
  }

  const ids = (list: TestMessage[]) => list.map(({ id }) => id).toSorted();

  function reported(partitions: OffsetTranslation[]): string[] {
    return partitions.flatMap(({ redeliveredIds }) => redeliveredIds ?? []).toSorted();
  }

  it.each([
    { name: 'the same order', shuffle: false, verdict: 'exact' },
    { name: 'another order', shuffle: true, verdict: 'bounded' },
  ])('goes on from Kafka to OwlMQ without a gap: copies in $name', async ({ shuffle, verdict }) => {
    const [topic, group, partitions] = [await legs.topic(3), newGroup(), 3];
    const all = withPartitions(60, partitions);
    await legs.toKafka(topic, all);
    const seed = Date.now();
    const mixed = fc.sample(fc.shuffledSubarray(all, { minLength: all.length }), { seed, numRuns: 1 })[0] ?? [];
    await legs.toOwlmq(topic, shuffle ? mixed : all);
    const before = await consumeKafka(legs, group, topic, [7, 0, 20]);
    // Nothing was committed on partition 1: it was not consumed, and that has to be said.
    expect((await toOwlmq(group, topic))[1]).toMatchObject({ verdict: 'refused', source: undefined });
    const translated = await toOwlmq(group, topic, { reset: 'earliest' });
    expect(translated[0]?.verdict, `seed ${seed}`).toBe(verdict);
    // Drained: at the end, whatever the order is.
    expect(translated[2]).toMatchObject({ source: 20, target: 20, verdict: 'exact', redeliveries: 0 });

    const report = await importToOwlmq(legs.owlmq, group, translated);
    expect(report).toMatchObject({ group, leg: 'owlmq' });
    expect(report.partitions.map(({ offset }) => offset)).toEqual(translated.map(({ target }) => target));
    // Once more is the same.
    const again = await importToOwlmq(legs.owlmq, group, translated);
    expect(again.partitions.map(({ before: earlier, offset }) => [earlier, offset])).toEqual(
      translated.map(({ target }) => [target, target]),
    );
    const after = await consumeOwlmq(legs, group, topic);
    expect([...new Set([...before, ...after])].toSorted(), `seed ${seed}`).toEqual(ids(all));
    expect(after.filter((id) => before.includes(id)).toSorted(), `seed ${seed}`).toEqual(reported(translated));
    expect(report.redeliveries).toBe(reported(translated).length);
  });

  it('goes back from OwlMQ to Kafka without a gap, across the cutover', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    // Before the cutover Kafka first, behind it OwlMQ first, with mirror copies in another order.
    const [early, late] = [messages(10), messages(20)];
    await legs.toKafka(topic, early);
    await legs.toOwlmq(topic, early);
    const offsets = await legs.toOwlmq(topic, late);
    const order = late.map((_, index) => index).toSorted((a, b) => (a % 5) - (b % 5) || a - b);
    await legs.toKafka(
      topic,
      order.flatMap((index) => late[index] ?? []),
      order.flatMap((index) => offsets[index] ?? []),
    );
    const kafkaFrom = { [topic]: [10] };
    for (const count of [4, 9, 12, 0]) {
      await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 0 }]);
      const before = await consumeOwlmq(legs, group, topic, [count]);
      const translated = await toKafka(group, topic, { kafkaFrom });
      expect(translated).toMatchObject([{ source: count }]);
      const report = await importToKafka(admin, group, translated);
      expect(report).toMatchObject({ leg: 'kafka', redeliveries: reported(translated).length });
      const target = translated[0]?.target ?? -1;
      const after = await consumeKafka(legs, group, topic, [30 - target]);
      expect([...new Set([...before, ...after])].toSorted()).toEqual(ids([...early, ...late]));
      expect(after.filter((id) => before.includes(id)).toSorted()).toEqual(reported(translated));
    }
    // Drained.
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 30 }]);
    expect(await toKafka(group, topic, { kafkaFrom })).toMatchObject([{ source: 30, target: 30, verdict: 'exact' }]);
  });

  it('does not skip what reached Kafka alone', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const [both, alone] = [messages(5), messages(1)];
    const offsets = await legs.toOwlmq(topic, both);
    await legs.toKafka(topic, both.slice(0, 3), offsets);
    await legs.toKafka(topic, alone);
    await legs.toKafka(topic, both.slice(3), offsets.slice(3));
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 5 }]);
    expect(await toKafka(group, topic)).toMatchObject([
      { source: 5, target: 3, verdict: 'bounded', redeliveries: 2, redeliveredIds: both.slice(3).map(({ id }) => id) },
    ]);
  });

  it('does not go by a header that names another message of Kafka', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const [early, late] = [messages(4), messages(6)];
    await legs.toKafka(topic, early);
    await legs.toOwlmq(topic, early);
    // Came to OwlMQ first, and name Kafka's last record, one beyond it, and one that retention is going to take.
    const forged = [9, 50, 9, 0, 9, 9].map((offset, index) => ({
      ...late[index],
      id: late[index]?.id ?? '',
      forged: offset,
    }));
    const offsets = await legs.toOwlmq(topic, forged);
    const kafkaFrom = { [topic]: [4] };
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 5 }]);
    // Their copies are missing, whatever the headers say.
    await legs.toKafka(topic, late.slice(0, 2), offsets);
    await legs.toKafka(topic, messages(4), [50, 51, 52, 53]);
    expect((await toKafka(group, topic, { kafkaFrom }))[0]?.reason).toMatch(/copies missing: 4 records.*6, 7, 8, 9/);
    await legs.toKafka(topic, late.slice(2), offsets.slice(2));
    const translated = await toKafka(group, topic, { kafkaFrom });
    expect(translated).toMatchObject([{ source: 5, target: 5 }]);
    for (const committed of [6, 9]) {
      await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: committed }]);
      // The four that are no copies lie between, at 6 to 9, and are strays.
      expect((await toKafka(group, topic, { kafkaFrom }))[0]?.target).toBe(6);
    }
  });

  it('does not skip a record of Kafka that has the headers of a copy and is none', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const all = messages(6);
    const offsets = await legs.toOwlmq(topic, all);
    await legs.toKafka(topic, all.slice(0, 3), offsets);
    // An application took over the headers of messages: of one that is proven, and of one that is consumed.
    const borrowed = [0, 2].map((index) => ({ ...all[index], id: all[index]?.id ?? '', time: Date.now() }));
    await legs.toKafka(topic, borrowed, [0, 2]);
    await legs.toKafka(topic, all.slice(3), offsets.slice(3));
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 5 }]);
    expect(await toKafka(group, topic)).toMatchObject([{ target: 3 }]);
    const proven = { owlmq: { [topic]: [2] }, kafka: { [topic]: [2] } };
    expect(await toKafka(group, topic, { proven })).toMatchObject([{ target: 3 }]);
    // Once the audit has copied them as what they are, the group has or has not consumed them like any other.
    const begin = { [topic]: [0] };
    const common = { connection: legs.connection, owlmq: legs.owlmq, topics: [topic], graceMs: 0 };
    const audit = new MirrorAudit({ ...common, owlmqPositions: begin, kafkaPositions: begin });
    const { complete, checkpoint } = await audit.step();
    await audit.close();
    expect({ complete, forwarded: checkpoint.figures[topic]?.forwarded }).toEqual({ complete: true, forwarded: 2 });
    expect(await toKafka(group, topic)).toMatchObject([{ target: 3 }]);
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 8 }]);
    expect(await toKafka(group, topic)).toMatchObject([{ target: 8, verdict: 'exact' }]);
  });

  it('refuses where something would be skipped, and imports nothing then', async () => {
    const [topic, group] = [await legs.topic(2), newGroup()];
    const all = withPartitions(8, 2);
    await legs.toKafka(topic, all);
    await legs.toOwlmq(
      topic,
      all.filter((_, index) => index !== 5),
    );
    await admin.setGroupOffsets(group, { [topic]: [1, 1] });
    const translated = await toOwlmq(group, topic);
    expect(translated[0]?.verdict).toBe('exact');
    expect(translated[1]).toMatchObject({ verdict: 'refused' });
    expect(translated[1]?.reason).toMatch(/copies missing.*offsets 2/);
    await expect(importToOwlmq(legs.owlmq, group, translated)).rejects.toThrow(OffsetsRefusedError);
    expect(await legs.owlmq.describeGroup(group)).toBeUndefined();
    // Behind the fence a copy may still come: it will lie where the group finds it.
    expect((await toOwlmq(group, topic, { until: { [topic]: [4, 2] } }))[1]).toMatchObject({ verdict: 'exact' });

    const uncovered = await legs.topic();
    await legs.toKafka(uncovered, messages(2, { copied: false }));
    await admin.setGroupOffsets(group, { [uncovered]: [1] });
    expect((await toOwlmq(group, uncovered))[0]?.reason).toMatch(/outside of coverage/);
    // Consumed already, it is no one's loss.
    await admin.setGroupOffsets(group, { [uncovered]: [2] });
    expect(await toOwlmq(group, uncovered)).toMatchObject([{ verdict: 'exact', target: 0 }]);
  });

  it('counts a message once that Kafka has twice', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const [twice, last] = [messages(1), messages(1)];
    await legs.toKafka(topic, [...twice, ...twice, ...last]);
    await legs.toOwlmq(topic, [...last, ...twice]);
    await admin.setGroupOffsets(group, { [topic]: [2] });
    const again = { redeliveries: 1, redeliveredIds: twice.map(({ id }) => id) };
    expect(await toOwlmq(group, topic)).toMatchObject([{ verdict: 'bounded', target: 0, ...again }]);
  });

  it('skips nothing behind a transaction that is open', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const [first, behind] = [messages(3), messages(2)];
    await legs.toKafka(topic, first);
    await legs.toOwlmq(topic, first);
    await admin.setGroupOffsets(group, { [topic]: [3] });
    const transactionalId = `offsets-test-${randomUUID()}`;
    const producer = legs.kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [{ value: 'of a producer without the library' }] });
    // The group cannot read these yet, and OwlMQ has them.
    await legs.toKafka(topic, behind);
    await legs.toOwlmq(topic, behind);
    const refusal = { verdict: 'refused', reason: expect.stringMatching(/transaction/) as unknown };
    expect(await toOwlmq(group, topic)).toMatchObject([refusal]);
    const waiting = toOwlmq(group, topic, { graceMs: 20_000 });
    await transaction.abort();
    expect(await waiting).toMatchObject([{ verdict: 'exact', target: 3 }]);
    await producer.disconnect();
  });

  it('refuses to go back while OwlMQ has what Kafka has not, or retention took it there', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const all = messages(6);
    await legs.toKafka(topic, all.slice(0, 4));
    await legs.toOwlmq(topic, all.slice(0, 4));
    const offsets = await legs.toOwlmq(topic, all.slice(4));
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 2 }]);
    expect((await toKafka(group, topic))[0]?.reason).toMatch(/copies missing/);
    await legs.toKafka(topic, all.slice(4), offsets);
    expect(await toKafka(group, topic)).toMatchObject([{ target: 2, verdict: 'exact' }]);
    await legs.retain(topic, 3);
    expect((await toKafka(group, topic))[0]?.reason).toMatch(/retention has passed/);
  });

  it('says what it does not know: copies of consumed records, lags above the limit, an unknown group', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const all = messages(10);
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all.slice(3));
    await admin.setGroupOffsets(group, { [topic]: [8] });
    // Three copies of consumed messages may still come.
    expect(await toOwlmq(group, topic)).toMatchObject([
      { target: 5, verdict: 'bounded', redeliveries: 3, redeliveredIds: all.slice(0, 3).map(({ id }) => id) },
    ]);
    const proven = await toOwlmq(group, topic, { proven: { [topic]: [8] } });
    expect(proven).toMatchObject([{ target: 5, verdict: 'exact', redeliveries: 0 }]);
    const [unknown] = await toOwlmq(group, topic, { maxRecords: 4 });
    expect(unknown).toMatchObject({ target: 5, verdict: 'bounded' });
    expect(unknown?.redeliveries).toBeUndefined();
    expect(unknown?.reason).toMatch(/8 consumed records were not checked/);
    expect((await toOwlmq(group, topic, { maxRecords: 1 }))[0]?.reason).toMatch(/lag of 2/);
    expect((await toOwlmq(newGroup(), topic))[0]).toMatchObject({ verdict: 'refused', source: undefined });
    expect((await toKafka(newGroup(), topic))[0]).toMatchObject({ verdict: 'refused', source: undefined });
  });

  it('sets no offsets of a group with members, on either leg', async () => {
    const [topic, group] = [await legs.topic(), newGroup()];
    const all = messages(3);
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all);
    const translated: OffsetTranslation[] = [{ topic, partition: 0, source: 1, target: 1, verdict: 'exact' }];

    const consumer = legs.kafka.consumer({ groupId: group, maxWaitTimeInMs: 100 });
    const joined = deferred();
    consumer.on(consumer.events.GROUP_JOIN, () => {
      joined.resolve();
    });
    await consumer.connect();
    await consumer.subscribe({ topic });
    await consumer.run({ eachMessage: () => Promise.resolve() });
    await joined.promise;
    await expect(importToKafka(admin, group, translated)).rejects.toThrow(KafkaGroupNotEmptyError);
    await consumer.disconnect();

    const member = await legs.owlmq.joinGroup(group, {
      topics: [topic],
      clientId: 'test',
      sessionTimeoutMs: 60_000,
      offsetReset: 'earliest',
    });
    await expect(importToOwlmq(legs.owlmq, group, translated)).rejects.toThrow(OwlmqGroupNotEmptyError);
    await legs.owlmq.leaveGroup(group, member.memberId);
    expect((await importToOwlmq(legs.owlmq, group, translated)).exact).toBe(1);
    expect((await importToKafka(admin, group, translated)).exact).toBe(1);
  });
});
