import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Comparison } from '../src/cli/offsets/comparison.js';
import type { GroupReport, MigrationReport } from '../src/cli/offsets/report.js';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { Legs, messages } from './audit-legs.js';
import { CliProcess, Interrupt, runBuilt, runHere, type CliOutcome } from './cli-harness.js';
import { FaultyOwlmq } from './faulty-owlmq.js';
import { uniqueName, until } from './publisher-fixture.js';

let legs: Legs;
let admin: ClusterAdmin;
let folder: string;

beforeAll(async () => {
  legs = await Legs.start();
  admin = new ClusterAdmin(legs.connection, { clientId: 'cli-offsets' });
  folder = await mkdtemp(join(tmpdir(), 'cli-offsets-'));
  await writeFile(join(folder, 'key'), 'test-key\n');
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  await admin.close();
  await legs.stop();
});

const env = () => ({ OWLMQ_URL: legs.server.url, OWLMQ_API_KEY: 'test-key' });
const connections = () => ['--owlmq-url', legs.server.url, '--owlmq-api-key-file', join(folder, 'key')];

/** In this process, with a person who gives this answer, if any. */
async function migrate(args: string[], answer?: string): Promise<CliOutcome> {
  const ask = answer === undefined ? undefined : () => Promise.resolve(answer);
  return await runHere(['migrate-offsets', '--output', 'json', ...connections(), ...args], ask);
}

async function verify(...args: string[]): Promise<CliOutcome> {
  return await runHere(['verify-offsets', '--output', 'json', ...connections(), ...args]);
}

function report({ out }: CliOutcome): MigrationReport {
  return JSON.parse(out) as MigrationReport;
}

function ofGroup({ groups }: MigrationReport, name: string): GroupReport {
  const found = groups.find(({ group }) => group === name);
  if (found === undefined) throw new Error(`The report has no group ${name}.`);
  return found;
}

/** A topic with two partitions and the same twenty messages on both legs, OwlMQ's three records behind. */
async function topicOnBoth(): Promise<string> {
  const topic = await legs.topic(2);
  await legs.toKafka(
    topic,
    [0, 1].flatMap((partition) => messages(3, { copied: false, partition })),
  );
  const all = messages(20).map((message, index) => ({ ...message, partition: index % 2 }));
  await legs.toKafka(topic, all);
  await legs.toOwlmq(topic, all);
  return topic;
}

/** A group that has committed these offsets of Kafka, by partition. */
async function groupAt(topic: string, offsets: number[], name = uniqueName('group')): Promise<string> {
  await admin.setGroupOffsets(name, { [topic]: offsets });
  return name;
}

/** What a group has committed on OwlMQ, by partition; undefined where it has nothing. */
async function onOwlmq(group: string, topic: string): Promise<number[] | undefined> {
  const offsets = (await legs.owlmq.describeGroup(group))?.offsets.filter((offset) => offset.topic === topic);
  return offsets?.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset);
}

async function onKafka(group: string, topic: string): Promise<(number | undefined)[] | undefined> {
  return (await admin.groupOffsets(group, { [topic]: 2 }))[topic];
}

async function joinOwlmq(group: string, topic: string): Promise<void> {
  const request = {
    clientId: 'still-here',
    sessionTimeoutMs: 30_000,
    offsetReset: 'earliest',
  } as const;
  const { memberId } = await legs.owlmq.joinGroup(group, { ...request, topics: [topic] });
  onTestFinished(() => legs.owlmq.leaveGroup(group, memberId));
}

async function joinKafka(groupId: string, topic: string): Promise<void> {
  const consumer = legs.kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  onTestFinished(() => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topic });
  const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve));
  await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() });
  await joined;
}

describe('migrate-offsets', () => {
  it('carries positions over exactly, as a user runs it, and finds them there', async () => {
    const topic = await topicOnBoth();
    const drained = await groupAt(topic, [13, 13]);
    const lagging = await groupAt(topic, [13, 8]);
    const file = join(folder, 'moved.json');
    const args = ['--groups', `${drained},${lagging}`, '--report', file];
    const { code, out, err } = await runBuilt(['migrate-offsets', ...args], env());
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('Kafka to OwlMQ: 2 groups, 4 partitions, all exact.');
    const rows = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows).toContainEqual([drained, topic, '2', '2', '0', '0', '0', '0']);
    expect(rows).toContainEqual([lagging, topic, '2', '2', '0', '0', '0', '5']);
    expect(await onOwlmq(drained, topic)).toEqual([10, 10]);
    expect(await onOwlmq(lagging, topic)).toEqual([10, 5]);

    expect(await verify('--report', file, '--output', 'table')).toMatchObject({
      ...{ code: 0, err: '', out: expect.stringContaining('All stand where they are to.') as string },
    });
    // Against the source, translated anew.
    expect((await verify('--groups', `${drained},${lagging}`)).code).toBe(0);
    // Again: nothing changes.
    const again = report(await migrate(['--groups', lagging]));
    expect(ofGroup(again, lagging)).toMatchObject({
      ...{ outcome: 'imported', kind: 'classic', sourceMembers: 0 },
      partitions: [
        { topic, partition: 0, source: 13, target: 10, before: 10, verdict: 'exact', redeliveries: 0, lag: 0 },
        { topic, partition: 1, source: 8, target: 5, before: 5, verdict: 'exact', redeliveries: 0, lag: 5 },
      ],
    });
  });

  it('prints a document of a form that later versions and scripts can read', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [13, 8]);
    const document = report(await migrate(['--groups', group, '--dry-run']));
    expect({ ...document, startedAt: 'then', endedAt: 'then' }).toEqual({
      ...{ version: 1, direction: 'kafka-to-owlmq', dryRun: true, startedAt: 'then', endedAt: 'then' },
      ...{ kafka: legs.connection.brokers, owlmq: new URL(legs.server.url).origin, exitCode: 0, notes: [] },
      groups: [
        {
          ...{ group, kind: 'classic', sourceMembers: 0, outcome: 'planned' },
          partitions: [
            { topic, partition: 0, source: 13, target: 10, verdict: 'exact', redeliveries: 0, lag: 0 },
            { topic, partition: 1, source: 8, target: 5, verdict: 'exact', redeliveries: 0, lag: 5 },
          ],
        },
      ],
    });
    // What is no such document is not read, and what a later version adds is no reason not to.
    const file = join(folder, 'form.json');
    await writeFile(file, JSON.stringify({ ...document, added: 'later' }));
    expect((await verify('--report', file)).code).toBe(3);
    const change = (name: string) =>
      (document.groups as Record<string, unknown>[]).map((of) => ({ ...of, [name]: 'other' }));
    for (const wrong of [
      { version: 2 },
      { direction: 'up' },
      { groups: change('outcome') },
      { groups: change('partitions') },
    ]) {
      await writeFile(file, JSON.stringify({ ...document, ...wrong }));
      expect((await verify('--report', file)).code).toBe(2);
    }
  });

  it('asks a person before messages come again, and lists them', async () => {
    const topic = await legs.topic();
    const [first, late, last] = [messages(4), messages(1), messages(3)];
    await legs.toKafka(topic, [...late, ...first, ...last]);
    await legs.toOwlmq(topic, [...first, ...last, ...late]);
    const group = await groupAt(topic, [5]);
    const no = await migrate(['--groups', group], 'no');
    expect(no.code).toBe(4);
    expect(no.err).toContain('messages of 1 partition come again');
    expect(ofGroup(report(no), group).outcome).toBe('held-back');
    expect(await legs.owlmq.describeGroup(group)).toBeUndefined();

    const yes = await migrate(['--groups', group], 'yes');
    expect(yes.code).toBe(3);
    expect(ofGroup(report(yes), group)).toMatchObject({
      outcome: 'imported',
      partitions: [{ verdict: 'bounded', target: 4, redeliveries: 1, redeliveredIds: [late[0]?.id] }],
    });
    // Nobody to ask: as the playbook's command runs.
    const { code, out } = await migrate(['--groups', group, '--output', 'table']);
    expect(code).toBe(3);
    expect(out).toContain('5 becomes 4, 1 message comes again');
  });

  it('writes nothing in a dry run, which says what would be', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [13, 13]);
    const dry = await migrate(['--groups', group, '--dry-run']);
    expect(dry.code).toBe(0);
    expect(report(dry)).toMatchObject({
      dryRun: true,
      groups: [{ outcome: 'planned', partitions: [{ target: 10 }, {}] }],
    });
    expect(await legs.owlmq.describeGroup(group)).toBeUndefined();
  });

  it('refuses a group in use at the target, and says of one at the source that more comes again', async () => {
    const topic = await topicOnBoth();
    const [used, free] = [await groupAt(topic, [13, 13]), await groupAt(topic, [13, 13])];
    await joinOwlmq(used, topic);
    const refused = await migrate(['--groups', `${used},${free}`]);
    expect(refused.code).toBe(4);
    const { reason } = ofGroup(report(refused), used);
    expect(reason).toMatch(/1 member: still-here \(member .+\)\. Stop the consumers of/);
    expect(ofGroup(report(refused), free).outcome).toBe('held-back');
    expect(await legs.owlmq.describeGroup(free)).toBeUndefined();

    await joinKafka(free, topic);
    const live = await migrate(['--groups', `${used},${free}`, '--skip-refused']);
    expect(live.code).toBe(4);
    expect(ofGroup(report(live), free)).toMatchObject({ outcome: 'imported', sourceMembers: 1 });
    const alone = await migrate(['--groups', free, '--output', 'table']);
    expect(alone.code).toBe(3);
    expect(alone.out).toContain('Still consuming on Kafka');

    const back = await migrate(['--groups', free, '--reverse']);
    expect(back.code).toBe(4);
    expect(ofGroup(report(back), free).reason).toMatch(
      /in use on Kafka, 1 member: kafkajs at 127\.0\.0\.1 \(member kafkajs-/,
    );
  });

  it('brings a group back to where it began', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [9, 12]);
    expect((await migrate(['--groups', group])).code).toBe(0);
    // What was consumed on OwlMQ meanwhile.
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 8 }]);
    expect((await migrate(['--groups', group, '--reverse'])).code).toBe(0);
    expect(await onKafka(group, topic)).toEqual([11, 12]);
    expect((await verify('--groups', group, '--reverse')).code).toBe(0);

    // From the fences of a status: what was never copied lies before them, and is not looked at.
    const file = join(folder, 'status.json');
    await writeFile(file, JSON.stringify({ cutover: { fences: { kafka: { [topic]: [3, 3] }, owlmq: {} } } }));
    const fenced = await migrate(['--groups', group, '--reverse', '--fences', file]);
    expect(fenced.code).toBe(0);
    expect(await onKafka(group, topic)).toEqual([11, 12]);
    // Without commits on Kafka and fences nothing counts as consumed there.
    const unknown = uniqueName('only-owlmq');
    await legs.owlmq.setGroupOffsets(
      unknown,
      [0, 1].map((partition) => ({ topic, partition, offset: 10 })),
    );
    const careful = await migrate(['--groups', unknown, '--reverse']);
    expect(careful.code).toBe(3);
    expect(await onKafka(unknown, topic)).toEqual([0, 0]);
  });

  it('knows patterns, near names, groups of no interest, and passes refused ones over when told', async () => {
    const topic = await topicOnBoth();
    const prefix = uniqueName('team');
    const [one, two] = [`${prefix}-payments`, `${prefix}-invoices`];
    for (const name of [one, two, `${one}.shadow`]) await groupAt(topic, [13, 13], name);

    const near = await migrate(['--groups', `${prefix}-payment,${two}`]);
    expect(near.code).toBe(4);
    expect(ofGroup(report(near), `${prefix}-payment`).reason).toContain(`Did you mean ${one}, ${one}.shadow?`);
    expect(await legs.owlmq.describeGroup(two)).toBeUndefined();
    const skipped = await migrate(['--groups', `${prefix}-payment,${two}`, '--skip-refused']);
    expect(skipped.code).toBe(4);
    expect(await onOwlmq(two, topic)).toEqual([10, 10]);

    const matched = await migrate(['--groups', `${prefix}-*`, '--dry-run']);
    expect(matched.code).toBe(0);
    expect(report(matched).groups.map(({ group }) => group)).toEqual([two, one]);
    expect(report(matched).notes).toEqual([expect.stringContaining(`${one}.shadow`)]);
    const none = await migrate(['--groups', `${prefix}-x*`]);
    expect(none.code).toBe(4);
    expect(report(none).groups[0]?.reason).toContain('no group of Kafka matches');

    // Other groups of the cluster have nothing on this topic.
    const all = report(await migrate(['--all-groups', '--topics', topic, '--skip-refused']));
    const imported = all.groups.filter(({ outcome }) => outcome === 'imported').map(({ group }) => group);
    expect(imported).toEqual([two, one]);
    expect(await onOwlmq(one, topic)).toEqual([10, 10]);
  });

  it('refuses topics that OwlMQ lacks, partitions without a commit, and metadata, and says what to do', async () => {
    const topic = await topicOnBoth();
    const alone = uniqueName('kafka-alone');
    await legs.admin.createTopics({ topics: [{ topic: alone, numPartitions: 1 }], waitForLeaders: true });
    onTestFinished(() => legs.admin.deleteTopics({ topics: [alone] }));
    const group = await groupAt(topic, [13, 13]);
    await admin.setGroupOffsets(group, { [alone]: [0] });
    const missing = await migrate(['--groups', group]);
    expect(missing.code).toBe(4);
    expect(ofGroup(report(missing), group).reason).toContain(`as in --topics ${topic}.`);
    expect((await migrate(['--groups', group, '--topics', topic])).code).toBe(0);
    const mistyped = await migrate(['--groups', group, '--topics', `${topic}s`]);
    expect(mistyped).toMatchObject({ code: 4, err: expect.stringContaining(`Did you mean ${topic}?`) as string });

    const half = uniqueName('half');
    await admin.setGroupOffsets(half, [{ topic, partition: 1, offset: 13 }]);
    const unset = await migrate(['--groups', half]);
    expect(unset.code).toBe(4);
    expect(ofGroup(report(unset), half).partitions[0]).toMatchObject({ verdict: 'refused', lag: 13 });
    const reset = await migrate(['--groups', half, '--offset-reset', 'latest']);
    expect(reset.code).toBe(0);
    expect(await onOwlmq(half, topic)).toEqual([10, 10]);

    const secret = randomBytes(9).toString('base64url');
    const kept = uniqueName('kept');
    const consumer = legs.kafka.consumer({ groupId: kept, maxWaitTimeInMs: 100 });
    await consumer.connect();
    await consumer.subscribe({ topic });
    const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve));
    await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() });
    await joined;
    await consumer.commitOffsets([0, 1].map((partition) => ({ topic, partition, offset: '13', metadata: secret })));
    await consumer.disconnect();
    const metadata = await migrate(['--groups', kept]);
    expect(metadata.code).toBe(4);
    expect(ofGroup(report(metadata), kept).reason).toMatch(/2 partitions, .*\/0: 12 bytes of what looks like base64/);
    expect(metadata.out + metadata.err).not.toContain(secret);
    expect((await migrate(['--groups', kept, '--ignore-metadata'])).code).toBe(0);

    // A name that a terminal would obey.
    const red = await groupAt(topic, [13, 13], `${uniqueName('red')}\u001b[31m`);
    const file = join(folder, 'red.json');
    const named = ['--groups', red, '--output', 'table'];
    const told = [await migrate([...named, '--report', file]), await verify('--report', file, ...named)];
    for (const { code, out } of told) {
      expect(code).toBe(4);
      expect(out).toContain('\\u001b[31m of OwlMQ: its name is none');
      expect(out).not.toContain('\u001b');
    }
  });

  it('tells a wrong key, a broker and an OwlMQ that do not answer, and never shows the key', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [13, 13]);
    const canary = randomBytes(12).toString('hex');
    const file = join(folder, 'canary.json');
    const args = ['migrate-offsets', '--groups', group, '--owlmq-url', legs.server.url, '--owlmq-api-key', canary];
    const wrong = await runHere([...args, '--report', file]);
    expect(wrong).toMatchObject({ code: 5, err: expect.stringContaining('Check OWLMQ_API_KEY') as string });
    expect(wrong.err).toContain('Warning: a key on the command line');
    const nowhere = await runHere([...args, '--kafka-brokers', '127.0.0.1:1'], undefined, { reachWithinMs: 100 });
    expect(nowhere).toMatchObject({ code: 5, err: expect.stringContaining('ECONNREFUSED') as string });
    const away = await runHere([...args, '--owlmq-url', 'http://127.0.0.1:1']);
    expect(away).toMatchObject({ code: 5, err: expect.stringContaining('ECONNREFUSED') as string });
    for (const { out, err } of [wrong, nowhere, away]) expect(out + err).not.toContain(canary);
    expect(existsSync(file)).toBe(false);
  });

  it('says all that is wrong with the input at once', async () => {
    vi.stubEnv('OWLMQ_API_KEY', '');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const bad = await runHere([
      ...[
        'migrate-offsets',
        '--owlmq-url',
        'owlmq',
        '--kafka-brokers',
        'kafka',
        '--offset-reset',
        'never',
        '--all-groups',
      ],
      ...[
        '--groups',
        'a',
        '--fences',
        join(folder, 'nothing'),
        '--report',
        join(folder, 'no', 'folder'),
        '--dry-run=maybe',
      ],
    ]);
    expect(bad).toMatchObject({ code: 2, out: '' });
    for (const part of [
      'OWLMQ_URL',
      'OWLMQ_API_KEY',
      'KAFKA_BROKERS',
      '"never"',
      'exclude each other',
      '--reverse alone',
      'does not exist',
      'ENOENT',
      '"maybe"',
    ]) {
      expect(bad.err).toContain(part);
    }
    const nothing = await migrate([]);
    expect(nothing).toMatchObject({
      code: 2,
      err: expect.stringContaining('--groups or --all-groups is needed') as string,
    });
  });
});

describe('a migrate-offsets that ends half way', () => {
  /** Groups, and a command whose imports hang from the third one on: four of them, which are as many as go on at once. */
  async function hanging() {
    const topic = await topicOnBoth();
    const prefix = uniqueName('half-way');
    const groups = [1, 2, 3, 4, 5, 6, 7, 8].map((nth) => `${prefix}-${nth}`);
    for (const group of groups) await groupAt(topic, [13, 8], group);
    const owlmq = await FaultyOwlmq.to(legs.server.url);
    onTestFinished(() => owlmq.close());
    owlmq.concerns = (method, path) => method === 'PUT' && path.endsWith('/offsets');
    owlmq.fault = () => (owlmq.requests.length >= 3 ? 'hold' : undefined);
    const file = join(folder, `${prefix}.json`);
    const args = ['migrate-offsets', '--groups', `${prefix}-*`, '--report', file];
    return {
      ...{ topic, groups, owlmq, file },
      /** In a process of its own, which can be killed. */
      process: () => new CliProcess(args, { ...env(), OWLMQ_URL: owlmq.url }),
      here: (io: Parameters<typeof runHere>[2] = {}) =>
        runHere([...args, ...connections(), '--owlmq-url', owlmq.url], undefined, io),
      hangs: () => until('four groups are under way', () => owlmq.held === 4),
      goesOn: () => {
        owlmq.fault = () => undefined;
        owlmq.dropHeld();
      },
    };
  }

  async function written(groups: readonly string[], topic: string): Promise<boolean[]> {
    return await Promise.all(groups.map(async (group) => (await onOwlmq(group, topic))?.join() === '10,5'));
  }

  /** Of eight groups the first ones. */
  const first = (count: number) => Array.from({ length: 8 }, (_, index) => index < count);

  async function finish(groups: readonly string[], topic: string): Promise<void> {
    expect((await migrate(['--groups', groups.join(',')])).code).toBe(0);
    expect(await written(groups, topic)).toEqual(first(8));
  }

  it('ends between two groups at Ctrl-C, says where, and goes on when it is run again', async () => {
    const { topic, groups, file, here, hangs, goesOn } = await hanging();
    const ctrlC = new Interrupt();
    const command = here(ctrlC);
    await hangs();
    ctrlC.send();
    goesOn();
    const { code, out, err } = await command;
    expect(err).toContain('Ending: what is under way');
    expect(err).toContain('Ended by Ctrl-C');
    expect(code).toBe(130);
    expect(out).toContain(`Imported and read back: ${groups.slice(0, 6).join(', ')}.`);
    expect(out).toContain(`Not reached, nothing was written of: ${groups.slice(6).join(', ')}.`);
    expect(await written(groups, topic)).toEqual(first(6));
    const kept = JSON.parse(await readFile(file, 'utf8')) as MigrationReport;
    const outcomes = kept.groups.map(({ outcome }) => outcome);
    expect(outcomes).toEqual(first(6).map((isDone) => (isDone ? 'imported' : 'not-reached')));
    await finish(groups, topic);
  });

  it('leaves groups whole at kill -9, its plan in the report, and goes on when it is run again', async () => {
    const { topic, groups, file, process, hangs } = await hanging();
    const command = process();
    await hangs();
    command.kill();
    await command.ended;
    expect(await written(groups, topic)).toEqual(first(2));
    const kept = await verify('--report', file);
    expect(kept.code).toBe(3);
    const states = (JSON.parse(kept.out) as Comparison).groups.map(({ partitions }) =>
      partitions.map(({ state }) => state).join(),
    );
    expect(states).toEqual(first(2).map((isDone) => (isDone ? 'equal,equal' : 'absent,absent')));
    await finish(groups, topic);
  });

  it('says which groups are imported when OwlMQ dies, and of which it is not known', async () => {
    const { topic, groups, owlmq, here, hangs } = await hanging();
    const command = here();
    await hangs();
    await owlmq.close();
    const { code, out } = await command;
    expect(code).toBe(5);
    expect(out).toContain(`Imported and read back: ${groups.slice(0, 2).join(', ')}.`);
    expect(out).toMatch(
      new RegExp(`FAILED:\n  - Whether the offsets of group ${groups[2] ?? ''} were written is not known`),
    );
    expect(out).toContain(`Not reached, nothing was written of: ${groups.slice(6).join(', ')}.`);
    expect(out).toMatch(/Ended by: .*ECONNREFUSED/);
    await finish(groups, topic);
  });

  it('shows what was done when the report can be written no more', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [13, 13]);
    const gone = await mkdtemp(join(folder, 'gone-'));
    const owlmq = await FaultyOwlmq.to(legs.server.url);
    onTestFinished(() => owlmq.close());
    owlmq.concerns = (method, path) => {
      if (method === 'PUT' && path.endsWith('/offsets')) rmSync(gone, { recursive: true, force: true });
      return false;
    };
    const report = ['--report', join(gone, 'moved.json')];
    const args = ['migrate-offsets', '--groups', group, ...connections(), '--owlmq-url', owlmq.url];
    const { code, out, err } = await runHere([...args, ...report]);
    expect(out).toContain(`Imported and read back: ${group}.`);
    expect(err).toMatch(/The report .* cannot be written: ENOENT.*\. What was done is shown above\./);
    expect(code).toBe(4);
    expect(await runHere([...args, '--report', '/dev/null'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--report /dev/null is no file') as string,
    });
  });

  it('refuses a group that gets members meanwhile, and imports the others', async () => {
    const { topic, groups, here, hangs, goesOn } = await hanging();
    const command = here();
    await hangs();
    await joinOwlmq(groups[6] ?? '', topic);
    goesOn();
    const { code, out } = await command;
    expect(code).toBe(4);
    expect(out).toContain(`Group ${groups[6] ?? ''} is in use on OwlMQ, 1 member: still-here`);
    expect(await written(groups, topic)).toEqual(groups.map((_, index) => index !== 6));
  });
});

describe('verify-offsets', () => {
  it('ends at Ctrl-C, whatever it waits for', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [13, 13]);
    const file = join(folder, 'waits.json');
    expect((await migrate(['--groups', group, '--report', file])).code).toBe(0);
    for (const args of [
      ['--groups', group],
      ['--report', file],
    ]) {
      const owlmq = await FaultyOwlmq.to(legs.server.url);
      onTestFinished(() => owlmq.close());
      owlmq.concerns = (method) => method === 'GET';
      owlmq.fault = () => 'hold';
      const ctrlC = new Interrupt();
      const asked = ['verify-offsets', ...connections(), '--owlmq-url', owlmq.url, ...args];
      const ended = runHere(asked, undefined, ctrlC);
      await until('OwlMQ is asked', () => owlmq.held > 0);
      ctrlC.send();
      expect(await ended).toEqual({ code: 130, out: '', err: 'Ended by Ctrl-C.\n' });
    }
  });

  it('tells what is behind, ahead and absent', async () => {
    const topic = await topicOnBoth();
    const group = await groupAt(topic, [8, 8]);
    const file = join(folder, 'verified.json');
    expect((await verify('--groups', group)).code).toBe(3);
    expect((await migrate(['--groups', group, '--report', file])).code).toBe(0);
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 4 }]);
    const behind = await runHere(['verify-offsets', ...connections(), '--report', file]);
    expect(behind).toMatchObject({
      code: 3,
      out: expect.stringContaining('is behind by 1: it stands at 4 in place of 5') as string,
    });
    await legs.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 7 }]);
    for (const args of [
      ['--report', file],
      ['--groups', group],
    ]) {
      const ahead = await verify(...args);
      expect(ahead.code).toBe(4);
      const [found] = (JSON.parse(ahead.out) as Comparison).groups;
      expect(found?.partitions).toEqual([
        { topic, partition: 0, expected: 5, actual: 7, state: 'ahead', by: 2 },
        { topic, partition: 1, expected: 5, actual: 5, state: 'equal' },
      ]);
    }
    // One that consumes there by now is ahead as it should be.
    await joinOwlmq(group, topic);
    expect((await verify('--report', file)).code).toBe(3);

    const other = join(folder, 'other.json');
    await writeFile(other, '{"version": 2}');
    expect(await verify('--report', other)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is no report of') as string,
    });
    expect((await verify('--report', file, '--reverse')).code).toBe(2);
  });
});
