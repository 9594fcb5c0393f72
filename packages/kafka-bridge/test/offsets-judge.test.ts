import { randomBytes, randomUUID } from 'node:crypto';
import { ConfigResourceTypes } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Progress } from '../../../engines/fetch/progress.js';
import { findConsoleTools, type KafkaTools } from '../../../engines/find/kafka-tools.js';
import { parseDescribedOffsets, runConsumerGroups, type DescribedOffset } from '../../../engines/run/kafka-tools.js';
import { ForwardAudit } from '../src/audit/forward-audit.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { HEADER } from '../src/message/headers.js';
import { importToKafka, importToOwlmq } from '../src/offsets/import.js';
import { translateToKafka } from '../src/offsets/translate-to-kafka.js';
import { translateToOwlmq } from '../src/offsets/translate-to-owlmq.js';
import type { OffsetTranslation } from '../src/offsets/translation.js';
import { DualPublisher } from '../src/publisher/dual-publisher.js';
import { Legs, messages, type TestMessage } from './audit-legs.js';
import { seeded } from './consumer-harness.js';
import { consumeKafka, consumeOwlmq } from './group-consumers.js';

const PARTITIONS = 2;
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** A topic that is the same to its groups on both legs, however it came about. */
interface History {
  name: string;
  topic: string;
  /** Kafka has lost messages that OwlMQ has: they may be delivered there, and have never been before. */
  compacted: boolean;
}

/** A group that goes to OwlMQ and back, and what was delivered to it. */
interface Traveller {
  history: History;
  group: string;
  /** Whether it has consumed everything when it changes sides. */
  drained: boolean;
  delivered: Set<string>;
}

describe(`positions of groups that change sides, with Kafka's own tool as the judge, seed ${seed}`, () => {
  const random = seeded(seed);
  let legs: Legs;
  let admin: ClusterAdmin;
  let tools: KafkaTools;
  beforeAll(async () => {
    tools = await findConsoleTools(new Progress(undefined));
    legs = await Legs.start();
    admin = new ClusterAdmin(legs.connection, { clientId: 'offsets-judge' });
  });
  afterAll(async () => {
    await admin.close();
    await legs.stop();
  });

  const onEach = (count: number): TestMessage[] =>
    messages(count).map((message, index) => ({ ...message, partition: index % PARTITIONS }));

  /** In which order copies come when one in three is late, by this many others or up to twice as many. */
  const late = (all: readonly unknown[], by: number): number[] => {
    const comes = all.map((_, index) => (index % 3 === 0 ? index + by * (1 + random()) : index));
    return [...all.keys()].sort((a, b) => (comes[a] ?? 0) - (comes[b] ?? 0));
  };

  /** As services write it: in order on both legs. */
  async function published(topic: string): Promise<void> {
    const publisher = new DualPublisher({ kafka: legs.connection, owlmq: { client: legs.owlmq }, ratio: 1 });
    await publisher.connect();
    await Promise.all(
      Array.from({ length: 80 }, (_, index) => publisher.publish(topic, Buffer.from('x'), { key: `key-${index % 9}` })),
    );
    await publisher.close();
  }

  /** One copy in three comes later than those behind it: a publisher gave it up, the audit wrote it. */
  async function repaired(topic: string): Promise<void> {
    const all = onEach(80);
    await legs.toKafka(topic, all);
    await legs.toOwlmq(
      topic,
      late(all, 20).map((index) => all[index] ?? { id: '' }),
    );
  }

  /** Control records lie between the messages, and messages of aborted transactions that nobody may see. */
  async function transactional(topic: string): Promise<void> {
    const producer = legs.kafka.producer({
      ...{ transactionalId: `tx-${randomBytes(6).toString('hex')}`, maxInFlightRequests: 1, idempotent: true },
    });
    await producer.connect();
    for (let round = 0; round < 6; round++) {
      const transaction = await producer.transaction();
      const batch = Array.from({ length: 10 }, (_, index) => ({
        ...{ partition: index % PARTITIONS, key: `key-${index % 3}`, value: `of ${round}` },
        headers: { [HEADER.id]: randomUUID(), [HEADER.epoch]: '1', [HEADER.copied]: '1' },
      }));
      await transaction.send({ topic, messages: batch });
      await (round % 3 === 1 ? transaction.abort() : transaction.commit());
    }
    await producer.disconnect();
    await expect.poll(() => legs.reader.ends(topic), { timeout: 20_000 }).toEqual([36, 36]);
    const { connection, owlmq } = legs;
    const positions = { [topic]: new Array<number>(PARTITIONS).fill(0) };
    const audit = new ForwardAudit({ connection, owlmq, topics: [topic], positions, graceMs: 0 });
    expect((await audit.step({ maxMs: 30_000 })).complete).toBe(true);
    await audit.close();
  }

  /** Kafka keeps the last message of a key alone; OwlMQ got all of them. */
  async function compacted(topic: string): Promise<void> {
    const configure = async (type: ConfigResourceTypes, name: string, config: Record<string, string>) => {
      const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }));
      await legs.admin.alterConfigs({ validateOnly: false, resources: [{ type, name, configEntries }] });
    };
    const [broker] = (await legs.admin.describeCluster()).brokers;
    const compaction = { 'cleanup.policy': 'compact', 'segment.ms': '1', 'min.cleanable.dirty.ratio': '0.001' };
    await configure(ConfigResourceTypes.TOPIC, topic, compaction);
    const all = onEach(80).map((message, index) => ({
      ...message,
      // Some keys come again, some do not.
      key: index % 3 === 0 ? `only-${index}` : `key-${index % 8}`,
    }));
    // A later time closes the segment, which is what compaction works on.
    const last = onEach(PARTITIONS).map((message) => ({ ...message, key: `last-${message.id}`, time: Date.now() }));
    await legs.toKafka(topic, all);
    await legs.toKafka(topic, last);
    await legs.toOwlmq(topic, [...all, ...last]);
    // The broker looks for work every 15 s.
    await configure(ConfigResourceTypes.BROKER, String(broker?.nodeId), { 'log.cleaner.backoff.ms': '200' });
    const held = async () => (await legs.kafkaRecords(topic)).length + (await legs.kafkaRecords(topic, 1)).length;
    await expect.poll(held, { timeout: 60_000 }).toBeLessThan(all.length / 2 + PARTITIONS);
    await configure(ConfigResourceTypes.BROKER, String(broker?.nodeId), {});
  }

  /** Messages of Kafka that a group has to get, by partition. */
  async function held(topic: string): Promise<{ id: string; offset: number }[][]> {
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => legs.kafkaRecords(topic, partition));
    return (await Promise.all(partitions)).map((records) =>
      records.map(({ headers, offset }) => ({ id: String(headers[HEADER.id] ?? ''), offset })),
    );
  }

  /** What the console tool says of all groups. */
  async function judge(travellers: readonly Traveller[]): Promise<(traveller: Traveller) => DescribedOffset[]> {
    const groups = travellers.flatMap(({ group }) => ['--group', group]);
    const brokers = legs.connection.brokers.join(',');
    const { out } = await runConsumerGroups(tools, ['--bootstrap-server', brokers, '--describe', ...groups]);
    const told = parseDescribedOffsets(out);
    return ({ group, history }) =>
      told
        .filter((one) => one.group === group && one.topic === history.topic)
        .sort((a, b) => a.partition - b.partition);
  }

  const redelivered = (partitions: readonly OffsetTranslation[]): string[] =>
    partitions.flatMap(({ redeliveredIds }) => redeliveredIds ?? []).sort();

  /** What came is what was missing, and what came again is what was told. */
  function account(traveller: Traveller, came: readonly string[], told: readonly string[], must: readonly string[]) {
    const { history, group, delivered } = traveller;
    const again = came.filter((id) => delivered.has(id)).sort();
    for (const id of came) delivered.add(id);
    const where = `${group}, seed ${seed}`;
    expect(
      must.filter((id) => !delivered.has(id)),
      `${where}: never delivered`,
    ).toEqual([]);
    // What compaction took in Kafka is told too: nobody can know whether the group had it.
    const known = history.compacted ? told.filter((id) => must.includes(id)) : told;
    expect(again, `${where}: delivered again`).toEqual(known);
  }

  it('lose nothing and repeat what was told, there and back', async () => {
    const histories: History[] = [];
    for (const fill of [published, repaired, transactional, compacted]) {
      const topic = await legs.topic(PARTITIONS);
      await fill(topic);
      histories.push({ name: fill.name, topic, compacted: fill === compacted });
    }
    const travellers = histories.flatMap((history) =>
      [false, true].map((drained) => {
        const group = `judge-${history.name}-${drained ? 'drained' : 'lagging'}-${randomBytes(4).toString('hex')}`;
        return { history, group, drained, delivered: new Set<string>() };
      }),
    );

    const { connection, owlmq } = legs;

    // In Kafka.
    const share = () => 0.2 + 0.6 * random();
    const all = async (work: (traveller: Traveller) => Promise<void>): Promise<void> => {
      await Promise.all(travellers.map(work));
    };
    await all(async ({ history, group, drained, delivered }) => {
      const part = drained ? 1 : share();
      const counts = (await held(history.topic)).map(({ length }) => Math.ceil(length * part));
      for (const id of await consumeKafka(legs, group, history.topic, counts)) delivered.add(id);
    });

    // To OwlMQ.
    const before = await judge(travellers);
    await all(async (traveller) => {
      const { group, history } = traveller;
      const topics = [history.topic];
      const [translated] = await translateToOwlmq({ connection, owlmq, groups: [group], topics });
      const partitions = translated?.partitions ?? [];
      const ends = await legs.reader.ends(history.topic);
      expect(before(traveller), group).toMatchObject(
        partitions.map(({ partition, source }) => ({ partition, offset: source, logEnd: ends[partition] })),
      );
      await importToOwlmq(owlmq, group, partitions);
      if (history.name === 'repaired') expect(redelivered(partitions).length > 0).toBe(!traveller.drained);
      const must = (await held(history.topic)).flat().map(({ id }) => id);
      account(traveller, await consumeOwlmq(legs, group, history.topic), redelivered(partitions), must);
    });

    // On OwlMQ, with Kafka as the mirror.
    const kafkaFrom: Record<string, number[]> = {};
    for (const { topic } of histories) {
      kafkaFrom[topic] = await legs.reader.ends(topic);
      const fresh = onEach(40).map((message) => ({ ...message, key: `fresh-${message.id}` }));
      const offsets = await legs.toOwlmq(topic, fresh);
      const mirrored = late(fresh, 10);
      await legs.toKafka(
        topic,
        mirrored.flatMap((index) => fresh[index] ?? []),
        mirrored.flatMap((index) => offsets[index] ?? []),
      );
    }
    for (const { history, group, drained, delivered } of travellers) {
      const counts = Array.from({ length: PARTITIONS }, () => (drained ? 20 : Math.floor(20 * share())));
      for (const id of await consumeOwlmq(legs, group, history.topic, counts)) delivered.add(id);
    }

    // Back to Kafka.
    const back = new Map<Traveller, OffsetTranslation[]>();
    for (const traveller of travellers) {
      const { group, history } = traveller;
      const [translated] = await translateToKafka({
        connection,
        owlmq,
        groups: [group],
        topics: [history.topic],
        kafkaFrom,
      });
      await importToKafka(admin, group, translated?.partitions ?? []);
      back.set(traveller, translated?.partitions ?? []);
    }
    const after = await judge(travellers);
    await all(async (traveller) => {
      const { group, history, drained } = traveller;
      const partitions = back.get(traveller) ?? [];
      const ends = await legs.reader.ends(history.topic);
      expect(after(traveller), `${group}, seed ${seed}`).toEqual(
        partitions.map(({ topic, partition, target = -1 }) => {
          const logEnd = ends[partition] ?? -1;
          return { group, topic, partition, offset: target, logEnd, lag: logEnd - target };
        }),
      );
      if (drained) expect(after(traveller)).toMatchObject([{ lag: 0 }, { lag: 0 }]);
      else expect(redelivered(partitions)).not.toEqual([]);
      const log = await held(history.topic);
      const rest = log.map(
        (records, partition) => records.filter(({ offset }) => offset >= (partitions[partition]?.target ?? 0)).length,
      );
      const must = log.flat().map(({ id }) => id);
      account(traveller, await consumeKafka(legs, group, history.topic, rest), redelivered(partitions), must);
    });
  });
});
