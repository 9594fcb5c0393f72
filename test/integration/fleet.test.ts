import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterAdmin } from '@owlmq/kafka-bridge/operations';
import { expect, it } from 'vitest';
import { check, outstanding } from '../../demo/checker.js';
import { Fleet } from '../../demo/fleet.js';
import { startEngines } from '../../engines/start-engines.js';

it('kills, freezes and starts processes anew while the others go on', async () => {
  const seed = randomInt(1_000_000);
  const name = `fleet-${seed}-${Date.now().toString(36)}`;
  console.info(`seed ${seed}`);
  const folder = await mkdtemp(join(tmpdir(), 'kafka-to-owlmq-fleet-'));
  const engines = await startEngines({ want: ['kafka', 'owlmq'] });
  const topics = { orders: `${name}-orders`, payments: `${name}-payments` };
  const fleet = new Fleet({
    ...{ migration: name, taskQueue: name, topics, groups: [`${name}-group`], membersPerGroup: 1 },
    ...{ producers: 2, rate: 200, keys: 20, seed, env: engines.env, folder },
    log: (line) => {
      console.info(line);
    },
    signal: AbortSignal.timeout(50_000),
  });
  const applied = () => fleet.applied.get(`${name}-group`) ?? [];
  const until = async (holds: () => boolean): Promise<void> => {
    for (;;) {
      await fleet.look();
      if (holds()) return;
      await sleep(50);
    }
  };
  try {
    const admin = new ClusterAdmin({ brokers: [...engines.kafka.brokers] }, { clientId: 'fleet-test' });
    for (const topic of Object.values(topics)) await admin.createTopic(topic, { partitions: 2 });
    await admin.close();
    await fleet.startConsumers();
    await fleet.startProducers();
    expect(fleet.running('producers')).toEqual(['producer-1', 'producer-2']);
    await until(() => applied().length > 50);

    await fleet.kill('producer-1');
    expect(fleet.running('producers')).toEqual(['producer-2']);
    await fleet.freeze(`${name}-group-1`);
    await until(() => true);
    const whileFrozen = applied().length;
    const acknowledged = fleet.acknowledged;
    await until(() => fleet.acknowledged > acknowledged + 50);
    expect(applied()).toHaveLength(whileFrozen);
    await fleet.thaw(`${name}-group-1`);
    await fleet.startAgain('producer-1');
    await until(() => applied().length > whileFrozen + 200);

    await fleet.stopProducers();
    await until(() => outstanding(fleet.produced, applied()) === 0);
    const { published, groups } = check(fleet.produced, fleet.applied);
    expect(published.failed).toBe(0);
    // The numbers of the killed one went on, or the checker would know messages twice or out of order.
    expect(groups[`${name}-group`]).toMatchObject({ lost: 0, reordered: 0, invented: 0, altered: 0 });
    const begun = fleet.produced.filter(({ event }) => event === 'sent');
    expect(new Set(begun.map(({ topic, key, number }) => `${topic}/${key}/${number}`)).size).toBe(begun.length);
  } finally {
    await fleet.stop();
    await engines.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
