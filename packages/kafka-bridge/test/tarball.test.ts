import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ClusterAdmin } from '../src/kafka/cluster-admin.js';
import { Legs, messages } from './audit-legs.js';
import { runPlaybookCommand } from './playbook-command.js';
import { PrivateBroker } from './private-broker.js';
import { API_KEY, testBrokers, TwoLegs } from './publisher-fixture.js';

const run = promisify(execFile);

/** A service of somebody else, which has nothing but the tarball. */
const service = `
import assert from 'node:assert/strict';
import { DualConsumer, DualPublisher, PublishInputError } from '@owlmq/kafka-bridge';
import * as contract from '@owlmq/kafka-bridge/contract';
import { ForwardAudit, RoutingWriter } from '@owlmq/kafka-bridge/operations';

for (const part of [DualConsumer, PublishInputError, ForwardAudit, RoutingWriter]) {
  assert.equal(typeof part, 'function');
}
assert.equal(typeof contract.encodeRecords, 'function');
await assert.rejects(import('@owlmq/kafka-bridge/dist/index.js'), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' });

const [topic, ...brokers] = process.argv.slice(2);
const publisher = new DualPublisher({ kafka: { brokers }, ratio: 1 });
const { kafka } = await publisher.publish(topic, { from: 'a tarball' }, { key: 'k' });
await publisher.flush();
const { owlmq } = publisher.status();
await publisher.close();
console.log(JSON.stringify({ kafka, copies: owlmq.messages }));
`;

describe('the packed package', () => {
  let folder: string;
  let legs: TwoLegs;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kafka-bridge-tarball-'));
    legs = await TwoLegs.open();
  });

  afterAll(async () => {
    await legs.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('installs alone, without Temporal, and publishes', async () => {
    const root = resolve(import.meta.dirname, '..');
    // The build is there already; it must not be made anew under the feet of other tests.
    const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
      cwd: root,
    });
    const [{ filename, files }] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['README.md', 'dist/index.js', 'dist/index.d.ts', 'package.json']));
    expect(paths.filter((path) => /(^|\/)(src|test)\/|tsbuildinfo/.test(path))).toEqual([]);

    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    await writeFile(join(folder, 'service.js'), service);
    const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
    await run('npm', ['install', ...quiet, join(folder, filename)], { cwd: folder });
    const scopes = await readdir(join(folder, 'node_modules'), { recursive: true });
    expect(scopes).toContain(join('@owlmq', 'kafka-bridge', 'package.json'));
    expect(scopes.filter((path) => path.includes('@temporalio'))).toEqual([]);

    const env = { ...process.env, OWLMQ_URL: `http://${legs.owlmqLink.address}`, OWLMQ_API_KEY: API_KEY };
    const { stdout } = await run(process.execPath, ['service.js', legs.topic, ...testBrokers()], { cwd: folder, env });
    const [record, ...others] = await legs.kafkaRecords();
    expect(others).toEqual([]);
    expect(record?.value?.toString()).toBe('{"from":"a tarball"}');
    expect(JSON.parse(stdout)).toEqual({ kafka: { partition: record?.partition, offset: 0 }, copies: 1 });
    expect((await legs.owlmqRecords()).map(({ value }) => value?.toString())).toEqual(['{"from":"a tarball"}']);
  });

  it('runs the command of the playbook to the letter, as does the checkout, without a registry', async () => {
    const broker = await PrivateBroker.start();
    onTestFinished(() => broker.remove());
    const owned = await Legs.start(broker.brokers);
    onTestFinished(() => owned.stop());
    const topic = await owned.topic();
    await owned.toKafka(topic, messages(3, { copied: false }));
    const all = messages(10);
    await owned.toKafka(topic, all);
    await owned.toOwlmq(topic, all);
    const admin = new ClusterAdmin(owned.connection, { clientId: 'tarball' });
    onTestFinished(() => admin.close());
    await admin.setGroupOffsets('payment-service', { [topic]: [13] });
    await admin.setGroupOffsets('notification-service', { [topic]: [9] });

    const systems = { brokers: broker.brokers, owlmqUrl: owned.server.url, apiKey: 'test-key' };
    for (const where of [folder, resolve(import.meta.dirname, '..', '..', '..')]) {
      const { out, err, asked } = await runPlaybookCommand(where, systems);
      expect(out).toContain('Kafka to OwlMQ: 2 groups, 2 partitions, all exact.');
      expect(out).toContain('Imported and read back: payment-service, notification-service.');
      expect(err).toContain('Warning: a key on the command line');
      expect(out + err).not.toContain('test-key');
      expect(asked).toEqual([]);
      for (const [group, offset] of [
        ['payment-service', 10],
        ['notification-service', 6],
      ] as const) {
        const { offsets = [] } = (await owned.owlmq.describeGroup(group)) ?? {};
        expect(offsets).toMatchObject([{ topic, partition: 0, offset }]);
        // So that the other folder's command has something to do.
        await owned.owlmq.setGroupOffsets(group, [{ topic, partition: 0, offset: 0 }]);
      }
    }
  });
});
