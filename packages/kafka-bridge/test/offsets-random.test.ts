import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { readProvenance } from '../src/message/headers.js';
import { translateToKafka } from '../src/offsets/translate-to-kafka.js';
import { translateToOwlmq } from '../src/offsets/translate-to-owlmq.js';
import type { OffsetTranslation } from '../src/offsets/translation.js';
import { Legs, messages, type TestMessage } from './audit-legs.js';

const PARTITIONS = 24;

/** One partition's messages of one phase: which leg they reach first, and how the other one gets them. */
interface Phase {
  /** Reach the first leg in this order. */
  all: TestMessage[];
  /** Reach the other leg in this order; some twice, some never. */
  copies: TestMessage[];
}

const phase = (partition: number, copiesTwice: boolean): fc.Arbitrary<Phase> =>
  fc
    .array(
      fc.record({
        late: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 6 }) }),
        fate: fc.oneof(
          { weight: 40, arbitrary: fc.constant('once' as const) },
          { weight: 1, arbitrary: fc.constant('never' as const) },
          { weight: 2, arbitrary: fc.constant('twice' as const) },
        ),
      }),
      { maxLength: 25 },
    )
    .map((fates) => {
      const all = messages(fates.length, { partition });
      const copies = fates.flatMap(({ late, fate }, index) => {
        const message = all[index];
        if (message === undefined || fate === 'never') return [];
        const once = { message, rank: index + late };
        return fate === 'twice' && copiesTwice ? [once, { message, rank: index + 3 }] : [once];
      });
      return { all, copies: copies.toSorted((a, b) => a.rank - b.rank).map(({ message }) => message) };
    });

/** Logs that a broker and an OwlMQ really hold, one random case a partition, against what a reader of both sees. */
describe('offset translation of random logs on both legs', () => {
  const seed = Date.now() % 2 ** 31;
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

  function sample<T>(arbitrary: (partition: number) => fc.Arbitrary<T>, salt: number): T[] {
    return Array.from({ length: PARTITIONS }, (_, partition) => {
      const [value] = fc.sample(arbitrary(partition), { seed: seed + salt * 1_000 + partition, numRuns: 1 });
      if (value === undefined) throw new Error('fast-check gave no sample');
      return value;
    });
  }

  /** Kafka first. Returns the Kafka ends. */
  async function writeKafkaFirst(topic: string, phases: Phase[]): Promise<number[]> {
    await legs.toKafka(
      topic,
      phases.flatMap((given) => given.all),
    );
    await legs.toOwlmq(
      topic,
      phases.flatMap((given) => given.copies),
    );
    return await legs.reader.ends(topic);
  }

  async function writeOwlmqFirst(topic: string, phases: Phase[]): Promise<void> {
    // A few have a header that names some record of Kafka, or none.
    const forge = fc.option(fc.nat({ max: 60 }), { freq: 4, nil: undefined });
    const total = phases.reduce((sum, given) => sum + given.all.length, 0);
    const named = fc.sample(forge, { seed, numRuns: total });
    const all = phases
      .flatMap((given) => given.all)
      .map((message, index) => ({ ...message, ...(named[index] === undefined ? {} : { forged: named[index] }) }));
    const offsets = new Map<string, number>();
    for (const [index, offset] of (await legs.toOwlmq(topic, all)).entries()) offsets.set(all[index]?.id ?? '', offset);
    const copies = phases.flatMap((given) => given.copies);
    await legs.toKafka(
      topic,
      copies,
      copies.map(({ id }) => offsets.get(id)),
    );
  }

  /** Checks a translation against the logs themselves. */
  function check(
    translation: OffsetTranslation | undefined,
    source: { id: string; offset: number }[],
    target: { id: string; offset: number }[],
    committed: number,
  ): OffsetTranslation['verdict'] {
    if (translation === undefined) throw new Error('a partition without a translation');
    const place = `seed ${seed}, partition ${translation.partition}`;
    const onTarget = new Set(target.map(({ id }) => id));
    const unconsumed = source.filter(({ offset }) => offset >= committed).map(({ id }) => id);
    if (unconsumed.some((id) => !onTarget.has(id))) {
      expect(translation.verdict, place).toBe('refused');
      expect(translation.reason, place).toContain('copies missing');
      return 'refused';
    }
    const from = translation.target ?? Number.POSITIVE_INFINITY;
    const delivered = target.filter(({ offset }) => offset >= from).map(({ id }) => id);
    for (const id of unconsumed) expect(delivered, place).toContain(id);
    const open = new Set(unconsumed);
    const again = delivered.filter((id) => !open.delete(id));
    const late = source.filter(({ id, offset }) => offset < committed && !onTarget.has(id)).map(({ id }) => id);
    expect(translation.redeliveredIds?.toSorted() ?? [], place).toEqual([...again, ...late].toSorted());
    expect(translation.redeliveries, place).toBe(again.length + late.length);
    expect(translation.verdict, place).toBe(again.length + late.length === 0 ? 'exact' : 'bounded');
    return translation.verdict;
  }

  const commit = (end: number) => fc.sample(fc.nat({ max: end }), { seed: seed + end, numRuns: 1 })[0] ?? 0;

  async function logs(topic: string, partition: number) {
    const kafka = (await legs.kafkaRecords(topic, partition)).map(({ headers, offset }) => ({
      id: readProvenance(headers).id ?? '',
      offset,
    }));
    const owlmq = (await legs.owlmqRecords(topic, partition)).map(({ id, offset }) => ({ id, offset }));
    return { kafka, owlmq };
  }

  it(`to OwlMQ (seed ${seed})`, async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `offsets-test-${randomUUID()}`];
    const ends = await writeKafkaFirst(
      topic,
      sample((partition) => phase(partition, false), 1),
    );
    const commits = ends.map(commit);
    await admin.setGroupOffsets(group, { [topic]: commits });
    const { connection, owlmq } = legs;
    const [result] = await translateToOwlmq({ connection, owlmq, groups: [group], topics: [topic], graceMs: 0 });
    const verdicts = new Set<string>();
    for (const [partition, committed] of commits.entries()) {
      const read = await logs(topic, partition);
      verdicts.add(check(result?.partitions[partition], read.kafka, read.owlmq, committed));
    }
    expect(verdicts.has('exact') && verdicts.has('bounded')).toBe(true);
  });

  it(`back to Kafka, across the cutover (seed ${seed})`, async () => {
    const [topic, group] = [await legs.topic(PARTITIONS), `offsets-test-${randomUUID()}`];
    const before = sample((partition) => phase(partition, false), 2);
    // The audit has proven the copies up to the cutover.
    for (const given of before) {
      given.copies.push(...given.all.filter((message) => !given.copies.includes(message)));
    }
    const kafkaFrom = { [topic]: await writeKafkaFirst(topic, before) };
    await writeOwlmqFirst(
      topic,
      sample((partition) => phase(partition, true), 3),
    );
    const described = await legs.owlmq.describeTopic(topic);
    const commits = (described?.partitions ?? []).map(({ endOffset }) => commit(endOffset));
    await legs.owlmq.setGroupOffsets(
      group,
      commits.map((offset, partition) => ({ topic, partition, offset })),
    );
    const { connection, owlmq } = legs;
    const [result] = await translateToKafka({
      connection,
      owlmq,
      groups: [group],
      topics: [topic],
      kafkaFrom,
      graceMs: 0,
    });
    const verdicts = new Set<string>();
    for (const [partition, committed] of commits.entries()) {
      const read = await logs(topic, partition);
      verdicts.add(check(result?.partitions[partition], read.owlmq, read.kafka, committed));
    }
    expect(verdicts.has('exact') || verdicts.has('bounded')).toBe(true);
  });
});
