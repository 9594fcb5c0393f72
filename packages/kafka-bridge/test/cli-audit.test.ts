import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { ForwardCheckpoint } from '../src/audit/checkpoints.js';
import type { CheckpointFile } from '../src/cli/audit/checkpoint-file.js';
import type { TopicParity } from '../src/cli/audit/parity.js';
import { DualPublisher } from '../src/publisher/dual-publisher.js';
import { RoutingWriter } from '../src/routing/routing-writer.js';
import { Legs, messages, type TestMessage } from './audit-legs.js';
import { CliProcess, runBuilt, runHere, type CliOutcome } from './cli-harness.js';
import { routingState, uniqueName, until } from './publisher-fixture.js';

interface AuditJson {
  complete: boolean;
  parity: boolean;
  passed: number;
  left: number;
  topics: Record<string, TopicParity>;
}

let legs: Legs;
let folder: string;

beforeAll(async () => {
  legs = await Legs.start();
  folder = await mkdtemp(join(tmpdir(), 'cli-audit-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  await legs.stop();
});

const env = () => ({ OWLMQ_URL: legs.server.url, OWLMQ_API_KEY: 'test-key' });
const connections = () => ['--owlmq-url', legs.server.url, '--owlmq-api-key-file', join(folder, 'key')];

/** In this process; the key comes from a file. */
async function audit(...args: string[]): Promise<CliOutcome> {
  await writeFile(join(folder, 'key'), 'test-key\n');
  return await runHere(['audit', '--output', 'json', ...connections(), ...args]);
}

function parsed({ out }: CliOutcome): AuditJson {
  return JSON.parse(out) as AuditJson;
}

/** Messages on both legs, but for every tenth, which Kafka alone has. */
async function withGaps(topic: string, all: TestMessage[]): Promise<void> {
  await legs.toKafka(topic, all);
  await legs.toOwlmq(
    topic,
    all.filter((_, index) => index % 10 !== 9),
  );
}

describe('audit', () => {
  it('finds parity, with the flags and variables of a user', async () => {
    const topic = await legs.topic(2);
    const all = messages(60).map((message, index) => ({ ...message, partition: index % 2 }));
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all);
    await legs.toKafka(topic, messages(3, { copied: false }));
    await legs.toKafka(topic, messages(2, { foreign: true }));
    const { code, out, err } = await runBuilt(['audit', '--topics', topic], env());
    expect(err).toBe('');
    expect(code).toBe(0);
    const [header, kafka, owlmq] = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(header?.slice(0, 3)).toEqual(['TOPIC', 'LEG', 'MESSAGES']);
    expect(kafka?.slice(0, 3)).toEqual([topic, 'kafka', '65']);
    expect(owlmq?.slice(0, 3)).toEqual([topic, 'owlmq', '60']);
    expect(out).toContain('3 records of a ratio below 100%');
    expect(out).toContain('2 foreign records');
  });

  it('counts what is missing and writes nothing; with --repair it writes it', async () => {
    const topic = await legs.topic();
    await withGaps(topic, messages(50));
    const found = await audit('--topics', topic);
    expect(found.code).toBe(3);
    expect(parsed(found)).toMatchObject({
      ...{ complete: true, parity: false },
      topics: { [topic]: { kafka: { messages: 50 }, owlmq: { messages: 45, missing: 5, repaired: 0 }, lacking: 5 } },
    });
    expect(await legs.owlmqRecords(topic)).toHaveLength(45);

    const repaired = await audit('--topics', topic, '--repair');
    expect(repaired.code).toBe(0);
    expect(parsed(repaired).topics[topic]?.owlmq).toMatchObject({ messages: 50, missing: 5, repaired: 5 });
    expect(await legs.owlmqRecords(topic)).toHaveLength(50);
    expect((await audit('--topics', topic)).code).toBe(0);
  });

  it('goes on exactly where Ctrl-C ended it', async () => {
    const topic = await legs.topic(2);
    const file = join(folder, 'resumed.json');
    const hour = { ageMs: 3_600_000 };
    const all = messages(4_000, hour).map((message, index) => ({ ...message, partition: index % 2 }));
    // The audit stands before this one, which is too young to be missing, until its copy comes.
    const young = { id: 'young', key: 'young', partition: 0, ageMs: 0 };
    const late = messages(200, hour);
    await withGaps(topic, all);
    await legs.toKafka(topic, [young, ...late]);
    await legs.toOwlmq(topic, late);
    const args = ['audit', '--topics', topic, '--checkpoint', file, '--grace', '600', '--output', 'json'];

    const first = new CliProcess(args, env());
    const positions = async (): Promise<number[]> => {
      if (!existsSync(file)) return [];
      const { checkpoint } = JSON.parse(await readFile(file, 'utf8')) as CheckpointFile;
      return (checkpoint as ForwardCheckpoint).positions[topic] ?? [];
    };
    await until('the audit stands at the young record', async () => (await positions()).join() === '2000,2000');
    first.interrupt();
    const interrupted = await first.ended;
    expect(interrupted.code).toBe(130);
    expect(parsed(interrupted)).toMatchObject({ complete: false, left: 201 });
    expect(parsed(interrupted).topics[topic]).toMatchObject({ kafka: { messages: 4_000 }, owlmq: { missing: 400 } });

    await legs.toOwlmq(topic, [young]);
    const second = await runBuilt(args, env());
    expect(second.err).toContain(`Goes on from ${file}`);
    expect(second.code).toBe(3);
    expect(parsed(second)).toMatchObject({ complete: true, passed: 201, left: 0 });
    expect(parsed(second).topics[topic]).toMatchObject({
      kafka: { messages: 4_201 },
      owlmq: { messages: 3_801, missing: 400 },
    });
    // What was found missing lies behind the place: it cannot be repaired from there.
    const repairing = await audit('--topics', topic, '--checkpoint', file, '--repair');
    expect(repairing).toMatchObject({ code: 2, err: expect.stringContaining('did not repair') as string });
  });

  it('fails closed, with the partition, when retention has passed its place', async () => {
    const topic = await legs.topic(2);
    const file = join(folder, 'lost.json');
    const all = messages(40).map((message, index) => ({ ...message, partition: index % 2 }));
    await legs.toKafka(topic, all);
    await legs.toOwlmq(topic, all);
    expect((await audit('--topics', topic, '--from', 'beginning', '--checkpoint', file)).code).toBe(0);
    const more = messages(20, { partition: 1 });
    await legs.toKafka(topic, more);
    await legs.retain(topic, 30, 1);
    const { code, err } = await audit('--topics', topic, '--checkpoint', file);
    expect(code).toBe(4);
    expect(err).toContain(`kafka ${topic}/1: position 20 is outside of the log, which holds 30 to 40`);
    expect(err).toContain('Retention has passed it');
  });

  it('proves both ways from the fences of a cutover, and repairs both', async () => {
    const topic = await legs.topic();
    const before = messages(10, { copied: false });
    await legs.toKafka(topic, before);
    const [both, owlmqAlone, kafkaAlone] = [messages(20), messages(4), messages(3)];
    await legs.toKafka(topic, both, await legs.toOwlmq(topic, both));
    await legs.toOwlmq(topic, owlmqAlone);
    await legs.toKafka(topic, kafkaAlone);
    const file = join(folder, 'status.json');
    const fences = { kafka: { [topic]: [10] }, owlmq: { [topic]: [0] } };
    await writeFile(file, JSON.stringify({ phase: 'warm', cutover: { attempts: 1, fences } }));

    const args = ['--topics', topic, '--direction', 'both', '--grace', '0'];
    const found = await audit(...args, '--from', 'coverage', file);
    expect(found.code).toBe(3);
    expect(parsed(found).topics[topic]).toMatchObject({
      kafka: { messages: 23, missing: 4, repaired: 0 },
      owlmq: { messages: 24, missing: 3, repaired: 0 },
    });
    const refused = await audit(...args, '--repair');
    expect(refused).toMatchObject({
      code: 2,
      err: expect.stringContaining('does not begin at the beginning') as string,
    });

    const repaired = await audit(...args, '--from', `coverage:${file}`, '--repair');
    expect(repaired.code).toBe(0);
    expect(repaired.err).toContain('no other audit may repair these topics');
    expect(parsed(repaired).topics[topic]).toMatchObject({ kafka: { repaired: 4 }, owlmq: { repaired: 3 } });
    expect(await legs.kafkaRecords(topic)).toHaveLength(37);
    expect(await legs.owlmqRecords(topic)).toHaveLength(27);
  });

  it('begins at a time', async () => {
    const topic = await legs.topic();
    await legs.toKafka(topic, messages(10, { ageMs: 7_200_000 }));
    await legs.toKafka(topic, messages(5, { ageMs: 1_800_000 }));
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
    const { topics } = parsed(await audit('--topics', topic, '--from', hourAgo));
    expect(topics[topic]).toMatchObject({ kafka: { messages: 5 }, owlmq: { missing: 5 } });
    const both = await audit('--topics', topic, '--direction', 'both', '--grace', '0', '--from', hourAgo);
    expect(parsed(both).topics[topic]).toMatchObject({ kafka: { messages: 5 }, owlmq: { missing: 5 } });
  });

  it('calls nothing missing that a running publisher is about to copy', async () => {
    const topic = await legs.topic();
    const migration = uniqueName('cli-audit');
    const { connection } = legs;
    const writer = new RoutingWriter({ connection, clientId: 'cli-audit' });
    onTestFinished(() => writer.close());
    await writer.ensureTopics();
    await writer.write(routingState({ migration, epoch: 1, topics: [topic], ratio: 1 }));
    const owlmq = { url: legs.server.url, apiKey: 'test-key' };
    const publisher = new DualPublisher({ kafka: { brokers: connection.brokers }, owlmq, migration });
    onTestFinished(() => publisher.close());
    const stop = new AbortController();
    const publishing = (async () => {
      for (let n = 0; !stop.signal.aborted; n++) await publisher.publish(topic, { n }, { key: `key-${n % 9}` });
    })();
    await until('some messages', () => publisher.status().kafka.messages > 200);
    // Topics come from the routing state.
    const live = await audit('--migration', migration);
    stop.abort();
    await publishing;
    expect(live.code).toBe(0);
    const { complete, topics } = parsed(live);
    expect(complete).toBe(true);
    expect(topics[topic]?.kafka.messages).toBeGreaterThanOrEqual(200);
    expect(topics[topic]?.owlmq).toMatchObject({ missing: 0, misplaced: 0 });
  });

  it('warns of a key on the command line, and never shows it', async () => {
    const key = randomBytes(12).toString('hex');
    const args = ['audit', '--topics', 'orders', '--owlmq-url', legs.server.url, '--owlmq-api-key', key];
    const topic = await legs.topic();
    args.splice(2, 1, topic);
    const { code, out, err } = await runHere(args);
    expect(code).toBe(5);
    expect(err).toContain('Warning: a key on the command line');
    expect(err).toContain('Check OWLMQ_API_KEY');
    expect(out + err).not.toContain(key);
  });

  it('tells a topic that OwlMQ does not have, and an OwlMQ that does not answer', async () => {
    const alone = uniqueName('kafka-alone');
    await legs.admin.createTopics({ topics: [{ topic: alone, numPartitions: 1 }], waitForLeaders: true });
    onTestFinished(() => legs.admin.deleteTopics({ topics: [alone] }));
    const unknown = await audit('--topics', alone);
    expect(unknown).toMatchObject({
      code: 4,
      err: expect.stringContaining(`${alone} does not exist on owlmq`) as string,
    });
    const away = await audit('--topics', alone, '--owlmq-url', 'http://127.0.0.1:1');
    expect(away).toMatchObject({ code: 5, err: expect.stringContaining('ECONNREFUSED') as string });
  });

  it('says all that is wrong with the input at once, files too', async () => {
    const file = join(folder, 'other.json');
    await writeFile(file, '{"version": 2}');
    const bad = await audit('--grace', '-1', '--direction', 'back', '--from', 'yesterday');
    expect(bad.code).toBe(2);
    for (const part of ['--topics', '--grace', '--direction', '"yesterday" is none']) expect(bad.err).toContain(part);
    const other = await audit('--topics', 'orders', '--checkpoint', file);
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining('is no checkpoint of') as string });
  });
});
