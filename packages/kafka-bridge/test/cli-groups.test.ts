import { randomUUID } from 'node:crypto';
import { Admin } from '@platformatic/kafka';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GroupReport } from '../src/cli/groups/tables.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { Legs, messages } from './audit-legs.js';
import { runBuilt, runHere, type CliOutcome } from './cli-harness.js';
import { joinClassic } from './group-members.js';

const API_KEY = 'test-key';

interface GroupsJson {
  sides: string[];
  groups: GroupReport[];
  unknown: { group: string; near: string[] }[];
}

let legs: Legs;
let admin: ClusterAdmin;
let topic: string;
let group: string;

beforeAll(async () => {
  legs = await Legs.start();
  admin = new ClusterAdmin(legs.connection, { clientId: 'cli-groups-test' });
  topic = await legs.topic(2);
  const all = messages(5);
  await legs.toKafka(topic, all);
  await legs.toOwlmq(topic, all.slice(1));
  group = `payment-${randomUUID()}`;
  await admin.setGroupOffsets(group, [{ topic, partition: 0, offset: 2 }]);
  await legs.owlmq.setGroupOffsets(group, [
    { topic, partition: 0, offset: 1 },
    { topic, partition: 1, offset: 0 },
  ]);
});
afterAll(async () => {
  await admin.close();
  await legs.stop();
});

const owlmq = () => ['--owlmq-url', legs.server.url, '--owlmq-api-key', API_KEY];
const kafka = () => ['--kafka-brokers', legs.connection.brokers.join(',')];
const groups = (...args: string[]): Promise<CliOutcome> => runHere(['groups', ...kafka(), ...args]);

/** The cells of the lines that begin with a name, the tables' gaps taken out. */
function rows({ out }: CliOutcome, name: string): string[][] {
  const lines = out.split('\n').filter((line) => line.startsWith(name));
  return lines.map((line) => line.split(/ {2,}/).slice(1));
}

function parsed({ out }: CliOutcome): GroupsJson {
  return JSON.parse(out) as GroupsJson;
}

describe('groups', () => {
  it('shows a group on both sides, with its positions', async () => {
    const shown = await runBuilt(['groups', '--groups', group], { OWLMQ_URL: legs.server.url, OWLMQ_API_KEY: API_KEY });
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(rows(shown, 'GROUP')[0]).toEqual(
      ['KIND', 'KAFKA', 'MEMBERS', 'TOPICS', 'LAG', 'NO COMMIT'].concat([
        'OWLMQ',
        'MEMBERS',
        'TOPICS',
        'LAG',
        'NO COMMIT',
      ]),
    );
    expect(rows(shown, group)).toEqual([
      ['classic', 'empty', '0', '1', '3', '1', 'empty', '0', '1', '3', '0'],
      [topic, '0', '2', '5', '3', '1', '4', '3'],
      [topic, '1', '-', '0', '-', '0', '0', '0', 'no commit on Kafka'],
    ]);
  });

  it('says the same as JSON, for patterns too', async () => {
    const outcome = await groups(...owlmq(), '--groups', `${group.slice(0, -3)}*`, '--output', 'json');
    expect(outcome.code).toBe(0);
    expect(outcome.err).toMatch(/^Warning: a key on the command line[^\n]*\n$/);
    expect(outcome.out + outcome.err).not.toContain(API_KEY);
    const { sides, groups: found, unknown } = parsed(outcome);
    expect([sides, unknown]).toEqual([['kafka', 'owlmq'], []]);
    const place = { topic, partition: 0, begin: 0, lag: 3 };
    expect(found).toEqual([
      {
        group,
        kafka: {
          ...{ kind: 'classic', state: 'empty', members: [], lag: 3, withoutCommit: 1 },
          positions: [
            { ...place, position: 2, end: 5 },
            { topic, partition: 1, begin: 0, end: 0 },
          ],
        },
        owlmq: {
          ...{ kind: 'owlmq', state: 'empty', members: [], lag: 3, withoutCommit: 0 },
          positions: [
            { ...place, position: 1, end: 4 },
            { ...place, partition: 1, position: 0, end: 0, lag: 0 },
          ],
        },
      },
    ]);
  });

  it('names groups that are not there, and those that may have been meant', async () => {
    const typo = `${group.slice(0, -1)}!`;
    const { code, err, ...rest } = await groups('--side', 'kafka', '--groups', `${group},${typo},nothing-*`);
    expect(code).toBe(3);
    expect(rows({ code, err, ...rest }, group)).toHaveLength(1);
    expect(err).toContain(`There is no group ${typo} on Kafka, or it may not be seen. Did you mean ${group}?`);
    expect(err).toContain('No group of Kafka matches nothing-*.');
    const json = await groups(...owlmq(), '--groups', typo, '--output', 'json');
    expect(json.code).toBe(3);
    expect(parsed(json)).toMatchObject({ groups: [], unknown: [{ group: typo, near: [group] }] });
  });

  it('does with Kafka alone, and with OwlMQ alone', async () => {
    const onKafka = await groups('--groups', group);
    expect(onKafka).toMatchObject({ code: 0, err: expect.stringContaining('OwlMQ was not asked') as string });
    expect(rows(onKafka, group)[0]).toEqual(['classic', 'empty', '0', '1', '3', '1']);
    const onOwlmq = await runHere(['groups', '--side', 'owlmq', '--groups', group, ...owlmq()]);
    expect(onOwlmq.code).toBe(0);
    expect(rows(onOwlmq, group)[0]).toEqual(['empty', '0', '1', '3', '0']);
    expect(await groups('--side', 'kafka', '--groups', group)).toMatchObject({ code: 0, err: '' });
  });

  it('keeps to the topics that were named, and to the groups that have commits on them', async () => {
    const [other, stranger] = [await legs.topic(), `stranger-${randomUUID()}`];
    await admin.setGroupOffsets(stranger, { [other]: [0] });
    const all = await groups('--side', 'kafka', '--topics', topic, '--positions');
    expect(all).toMatchObject({ code: 0, err: expect.stringContaining('left out, without a commit') as string });
    expect(rows(all, 'payment-')).toHaveLength(3);
    expect(all.out).not.toContain(stranger);
    const named = await groups('--side', 'kafka', '--topics', topic, '--groups', stranger);
    expect(rows(named, stranger)).toEqual([
      ['classic', 'empty', '0', '0', '0', '2'],
      ...['0', '1'].map((partition, index) => [
        topic,
        partition,
        '-',
        index === 0 ? '5' : '0',
        '-',
        'no commit on Kafka',
      ]),
    ]);
    const typo = await groups('--side', 'kafka', '--topics', `${topic}x`);
    expect(typo).toMatchObject({ code: 4, out: '', err: expect.stringContaining(`Did you mean ${topic}?`) as string });
  });

  it('tells what stands out of a position, and keeps metadata to itself', async () => {
    const odd = `odd-${randomUUID()}`;
    const short = await legs.topic(2);
    await legs.toKafka(short, messages(4));
    await legs.retain(short, 3);
    await admin.setGroupOffsets(odd, { [short]: [1, 7] });
    const told = await groups('--side', 'kafka', '--groups', odd);
    expect(told.code).toBe(0);
    expect(rows(told, odd).slice(1)).toEqual([
      [short, '0', '1', '4', '3', 'retention of Kafka has passed it: the log begins at 3'],
      [short, '1', '7', '0', '0', expect.stringMatching(/^past the end on Kafka/)],
    ]);

    const consumer = legs.kafka.consumer({ groupId: odd, maxWaitTimeInMs: 100 });
    await consumer.connect();
    await consumer.subscribe({ topic: short });
    await consumer.run({ autoCommit: false, eachMessage: () => Promise.resolve() });
    const metadata = 'of-the-service';
    await consumer.commitOffsets([{ topic: short, partition: 0, offset: '4', metadata }]);
    const used = await groups('--side', 'kafka', '--groups', odd, '--members');
    await consumer.disconnect();
    expect(used.out).toContain('14 bytes of metadata');
    expect(used.out).not.toContain(metadata);
    expect(rows(used, odd)[0]?.slice(0, 3)).toEqual(['classic', 'stable', '1']);
    expect(rows(used, odd).at(-1)?.slice(0, 3)).toEqual(['Kafka', 'kafkajs', '127.0.0.1']);
  });

  it('says why a group cannot be moved, and obeys no name', async () => {
    const workers = `workers-${randomUUID()}`;
    const raw = new Admin({ clientId: 'cli-groups-test', bootstrapBrokers: legs.connection.brokers });
    await joinClassic(raw, workers, 'connect');
    await raw.close();
    const evil = `evil-\u001b[2J\n${randomUUID()}`;
    await admin.setGroupOffsets(evil, { [topic]: [0] });
    const { code, out, err } = await groups(...owlmq(), '--positions', '--groups', `${workers},evil-*`);
    expect([code, err]).toEqual([0, expect.stringMatching(/^Warning: a key[^\n]*\n$/)]);
    expect(out).toContain(`  - ${workers} on Kafka: it is a group of Kafka Connect workers`);
    expect(out).not.toContain('\u001b');
    expect(out).toContain('evil-\\u001b[2J\\u000a');
    expect(out).toContain('on OwlMQ: its name is none that OwlMQ takes');
  });

  it('tells all that is wrong with what was given, and what cannot be reached', async () => {
    const wrong = ['--groups', 'a', '--all-groups', '--side', 'left', '--output', 'xml', '--members', 'perhaps'];
    const { code, out, err } = await groups(...wrong);
    expect([code, out]).toEqual([2, '']);
    expect(err.match(/^ {2}- .*$/gm)).toEqual([
      expect.stringContaining('--side must be one of kafka, owlmq, both'),
      expect.stringContaining('--all-groups and --groups exclude each other'),
      expect.stringContaining('--members must be one of true, false'),
      expect.stringContaining('--output must be one of table, json'),
    ]);
    const noAddress = await groups('--side', 'both');
    expect(noAddress).toMatchObject({ code: 2, err: expect.stringContaining('OWLMQ_URL') as string });

    const key = 'sk-not-the-key';
    const refused = await groups('--owlmq-url', legs.server.url, '--owlmq-api-key', key, '--groups', group);
    expect(refused).toMatchObject({ code: 5, out: '', err: expect.stringContaining('OWLMQ_API_KEY') as string });
    expect(refused.err).not.toContain(key);
    const nobody = ['groups', '--kafka-brokers', '127.0.0.1:1', '--side', 'kafka'];
    const unreachable = await runHere(nobody, undefined, { reachWithinMs: 300 });
    expect(unreachable).toMatchObject({ code: 5, out: '' });
  });
});
