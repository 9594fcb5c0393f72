import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { NativeConnection, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { FleetModel } from '../../rehearsal/fleet-model.js';
import { readMigration } from '../../rehearsal/evidence/recorded-migration.js';
import { wallClock } from '../../rehearsal/wall-clock.js';
import { buildCodecApp } from '../../src/codec/codec-app.js';
import type * as converters from '../../src/codec/data-converter.js';
import { EncryptingCodec } from '../../src/codec/encrypting-codec.js';
import type { migrateKafkaToOwlmq } from '../../src/workflows/playbook.js';
import { readyToCutOver } from './ready-to-cut-over.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';
import { textsOf } from '../texts-of.js';

// The bundle runs as built: `npm test` builds before it tests.

const CANARY = 'canary-9f2c';
const TOKEN = 'the-token-of-this-test';
const silent = pino({ level: 'silent' });
const run = promisify(execFile);
const bundle = fileURLToPath(new URL('../../dist/workflow-bundle-encrypted.js', import.meta.url));
/** Names a file beside it, which the worker loads. */
const built = new URL('../../dist/src/codec/data-converter.js', import.meta.url).href;

it('keeps nothing that a migration says where Temporal can read it', async () => {
  installQuietRuntime();
  const address = process.env['TEMPORAL_ADDRESS'];
  if (address === undefined) throw new Error('TEMPORAL_ADDRESS is not set: run the tests with npm test');
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const native = await NativeConnection.connect({ address });
  onTestFinished(() => native.close());

  const model = new FleetModel(wallClock);
  let failures = 2;
  model.before = ({ activity }) => {
    if (activity !== 'moveOffsets' || failures === 0) return;
    failures -= 1;
    throw ApplicationFailure.create({ message: `${CANARY} failed`, details: [{ password: CANARY }] });
  };
  const { encryptingConverter } = (await import(built)) as typeof converters;
  const keys = new Map([['test', randomBytes(32)]]);
  const dataConverter = encryptingConverter(keys);
  const taskQueue = `test-${randomUUID()}`;
  const worker = await Worker.create({
    ...{ connection: native, taskQueue, workflowBundle: { codePath: bundle }, dataConverter },
    activities: { ...model.activities },
  });
  const workflowId = `migration-${randomUUID()}`;
  const encrypted = new Client({ connection, dataConverter });
  const topics = [`orders-${CANARY}`];
  const carried = readyToCutOver({ topics });
  const offsets = { [topics[0] ?? '']: [0, 0] };
  Object.assign(carried.state, {
    ...{ partitions: { [topics[0] ?? '']: 2 }, coverage: offsets, auditFrom: offsets },
  });
  const status = await worker.runUntil(async () => {
    const handle = await encrypted.workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
      ...{ taskQueue, workflowId, memo: { owner: CANARY }, workflowRunTimeout: '1 minute' },
      args: [carried.plan, carried],
    });
    onTestFinished(async () => {
      const { status: ran } = await handle.describe();
      if (ran.name === 'RUNNING') await handle.terminate('the test has ended');
    });
    await handle.signal('pause', { reason: `${CANARY} reason`, by: `${CANARY} person` });
    await handle.signal('resume', { by: `${CANARY} person` });
    return await handle.result();
  });
  // Who has the key reads all of it.
  expect(status.phase).toBe('completed');
  expect(status.log.some(({ text }) => text.includes(`resumed by ${CANARY} person`))).toBe(true);
  expect(failures).toBe(0);

  const { events } = await new Client({ connection }).workflow.getHandle(workflowId).fetchHistory();
  const texts = textsOf(events);
  expect(texts.length).toBeGreaterThan(500);
  expect(texts.filter((text) => text.includes(CANARY))).toEqual([]);
  // Failures are there, and say nothing.
  expect(texts).toContain('Encoded failure');
  const summaries = (events ?? []).flatMap(({ userMetadata }) => userMetadata?.summary ?? []);
  expect(summaries.length).toBeGreaterThan(5);
  for (const { metadata } of summaries) {
    expect(Buffer.from(metadata?.['encoding'] ?? []).toString()).toBe('binary/encrypted');
  }

  // The report for a change record has it all.
  const recorded = await readMigration(encrypted, workflowId, new EncryptingCodec(keys));
  expect(recorded.status?.phase).toBe('completed');
  expect(textsOf(recorded.runs).some((text) => text.includes(`${CANARY} reason`))).toBe(true);

  // Through the codec server Temporal's own CLI reads it.
  const origins: string[] = [];
  const app = await buildCodecApp({ codec: new EncryptingCodec(keys), origins, tokens: [TOKEN], logger: silent });
  onTestFinished(() => app.close());
  const codec = await app.listen({ host: '127.0.0.1', port: 0 });
  const show = ['workflow', 'show', '--address', address, '--workflow-id', workflowId, '--output', 'json'];
  const { stdout } = await run(process.env['TEMPORAL_CLI'] ?? 'temporal', [
    ...show,
    ...['--codec-endpoint', codec, '--codec-auth', `Bearer ${TOKEN}`],
  ]);
  const shown = textsOf(JSON.parse(stdout));
  for (const said of ['reason', 'failed'])
    expect(
      shown.some((text) => text.includes(`${CANARY} ${said}`)),
      said,
    ).toBe(true);
});
