import { bypassingMembers, httpMember, type RosterEntry } from '@owlmq/kafka-bridge/operations';
import { Kafka } from 'kafkajs';
import { expect, it } from 'vitest';
import { Bench, until } from '../../packages/kafka-bridge/test/consumer-harness.js';
import { ConsumerProcess } from '../../packages/kafka-bridge/test/consumer-process.js';
import type { ReadinessCheck } from '../../src/activities/migration-activities.js';
import { openSteps, step } from './worker-steps.js';

it('finds a consumer without the library before the start and before the cutover, until it is gone', async ({
  onTestFinished,
}) => {
  const bench = await Bench.open();
  const { connection: kafka, admin, migration, topic, group } = bench;
  const { steps, roster, close } = await openSteps(bench);
  const plain = new Kafka({ ...kafka, clientId: 'payments-of-last-year' }).consumer({ groupId: group });
  const started: ConsumerProcess[] = [];
  onTestFinished(async () => {
    await plain.disconnect();
    for (const consumer of started) consumer.kill();
    await close();
    await bench.close();
  });
  const { epoch } = await bench.route({});

  // Its service has chosen the same client id.
  const options = { ...bench.options(), kafka: { ...kafka, clientId: 'payments-of-last-year' }, handleMs: 1 };
  const embedded = await ConsumerProcess.start(options);
  started.push(embedded);
  await until(() => roster.members(migration).find(({ report }) => 'memberId' in report));
  expect(await readiness()).toMatchObject({ ok: true, detail: 'all on Kafka report to this migration' });

  await plain.connect();
  await plain.subscribe({ topic });
  await plain.run({ eachMessage: () => Promise.resolve() });
  await until(async () => (await admin.describeGroup(group)).members.length === 2 || undefined);
  const check = await readiness();
  expect(check).toMatchObject({ ok: false });
  expect(check?.detail).toMatch(/^without the library: payments-of-last-year at \d+\.\d+\.\d+\.\d+$/);
  expect(await warnings([])).toEqual([
    expect.stringMatching(new RegExp(`^Group ${group} has members in Kafka that do not report to this migration: pay`)),
  ]);
  // A hook stands for its members, which report to nobody.
  expect(await warnings([group])).toEqual([]);

  // One that was killed is in the group until its session is over, and is no stranger.
  await plain.disconnect();
  embedded.kill();
  expect((await admin.describeGroup(group)).members).toHaveLength(1);
  expect(await readiness()).toMatchObject({ ok: true });

  async function readiness(): Promise<ReadinessCheck | undefined> {
    const limits = { epoch, drainableLag: 10, minPublishers: 0 };
    const checks = await step(() => steps.checkReadiness({ migration, topics: [topic], groups: [group], ...limits }));
    return checks.find(({ name }) => name === `members of ${group}`);
  }

  async function warnings(external: string[]): Promise<string[]> {
    const request = { migration, topics: [topic], groups: [group], external, forward: [], retentionNeededMs: 1 };
    const { findings } = await step(() => steps.preflight(request));
    return findings.map(({ what }) => what).filter((what) => what.includes('do not report'));
  }
});

it('cannot tell them where members report over HTTP, and names five', () => {
  const entry = (instance: string, memberId?: string): RosterEntry =>
    ({ report: { role: 'consumer', group: 'payments', instance, memberId } }) as unknown as RosterEntry;
  const members = Array.from({ length: 8 }, (_, at) => ({ memberId: `m-${at}`, clientId: `c-${at}` }));
  const standing = { group: 'payments', members };
  expect(bypassingMembers(standing, [entry('a', 'm-7')])).toBe('c-0, c-1, c-2, c-3, c-4, 2 more');
  expect(bypassingMembers(standing, [entry('a', 'm-7'), entry(httpMember('java-1'))])).toBeUndefined();
});
