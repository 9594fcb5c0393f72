import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { playbookGroups, runPlaybookCommand } from './playbook-command.js';
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

  it('installs alone, without Temporal, publishes, and runs the command of the playbook to the letter', async () => {
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

    // The group has consumed the one message, wherever it is.
    const consumed = Array.from({ length: 4 }, (_, partition) => (partition === record?.partition ? 1 : 0));
    await playbookGroups(testBrokers(), legs.topic, consumed);
    const owlmqUrl = env.OWLMQ_URL;
    const { out, asked } = await runPlaybookCommand(folder, { brokers: testBrokers(), owlmqUrl, apiKey: API_KEY });
    expect(out).toContain('Imported and read back: payment-service, notification-service.');
    expect(asked).toEqual([]);
    const { offsets = [] } = (await legs.owlmq.describeGroup('payment-service')) ?? {};
    expect(offsets.map(({ offset }) => offset)).toEqual(consumed);
  });
});
