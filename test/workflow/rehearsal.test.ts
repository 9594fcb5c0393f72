import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { buildEvidence } from '../../rehearsal/evidence/evidence.js';
import { extractFacts } from '../../rehearsal/evidence/extract.js';
import { readMigration } from '../../rehearsal/evidence/recorded-migration.js';
import { rehearsalMarkdown, rehearsalReport, type RehearsalReport } from '../../rehearsal/evidence/report.js';
import { FleetModel } from '../../rehearsal/fleet-model.js';
import { rehearse, type RehearsalOptions } from '../../rehearsal/rehearse.js';
import { SCENARIOS } from '../../rehearsal/scenarios.js';
import { SkippedClock } from '../../rehearsal/skipped-clock.js';
import { startTestServer } from '../../rehearsal/test-server.js';
import { TooMuchTrafficError } from '../../rehearsal/traffic.js';
import { askRollback } from './playbook-fixture.js';
import { bundleWorkflowSources } from './workflow-bundle.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';

const example: MigrationInput = { topics: ['orders.created'], groups: ['payment-service', 'notification-service'] };
/** As short as a playbook can be, with everything that people are asked for. */
const brief: MigrationInput = {
  topics: ['orders', 'invoices'],
  groups: ['payments', 'mails'],
  forward: ['invoices'],
  ramp: { step: 0.5, interval: '10 minutes' },
  soak: { duration: '1 hour', minComparisons: 100 },
  cutover: { trigger: 'approval', maxAttempts: 1 },
  warm: { duration: '5 hours' },
  audit: { parallelism: 2 },
};
const versions = { project: '0', temporalSdk: '0', node: '0' };

let bundle: WorkflowBundleWithSourceMap;
let testServer: string;

beforeAll(async () => {
  installQuietRuntime();
  testServer = process.env['TEMPORAL_TEST_SERVER'] ?? '';
  bundle = await bundleWorkflowSources([
    fileURLToPath(new URL('../../rehearsal/without-heartbeat-timeouts.ts', import.meta.url)),
  ]);
});

function options(input: MigrationInput, ...names: string[]): RehearsalOptions {
  const scenarios = SCENARIOS.filter(({ name }) => names.includes(name));
  return { input, seed: 7, testServer, workflowBundle: bundle, scenarios };
}

/** What a value is made of: keys and kinds, of lists their first item. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, shapeOf(of)]));
}

// A test server that has stalled is given up, and the run tried on another.
describe('a rehearsal', { timeout: 240_000 }, () => {
  it('cancels a cutover, is completed, and tells of it as the example in docs does', async () => {
    const report = rehearsalReport(7, await rehearse(options(example, 'completed')), versions);
    expect(report.scenarios[0]?.invariants.filter(({ ok }) => !ok)).toEqual([]);
    const evidence = report.scenarios[0]?.evidence;
    expect(evidence?.phases.map(({ phase }) => phase)).toEqual([
      'preflight',
      'dual-write',
      'shadow-soak',
      'ready',
      'cutover',
      'ready',
      'cutover',
      'warm',
      'decommission',
      'completed',
    ]);
    const [cancelled, through] = evidence?.holds ?? [];
    expect(cancelled?.endedBy).toContain('cutover cancelled: the window of 30 s was over');
    expect(cancelled?.durationMs).toBeGreaterThanOrEqual(30_000);
    expect(through?.durationMs).toBeLessThan(5_000);
    expect(evidence?.ramp.map(({ ratio, verdict }) => [ratio, verdict])).toEqual(
      [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1].map((ratio) => [ratio, 'success']),
    );
    // Given up by a publisher of the model, found by the audit.
    expect(evidence?.audits[0]?.figures.repaired).toBeGreaterThan(0);
    expect(report.scenarios[0]?.given.map(({ what }) => what)).toEqual(['approved in phase decommission']);
    const docs = path.join(import.meta.dirname, '../../docs');
    const stored = JSON.parse(await readFile(path.join(docs, 'evidence-example.json'), 'utf8')) as RehearsalReport;
    const [first] = stored.scenarios;
    expect(shapeOf({ ...stored, scenarios: [first] })).toEqual(shapeOf(JSON.parse(JSON.stringify(report))));
    expect(await readFile(path.join(docs, 'evidence-example.md'), 'utf8')).toBe(rehearsalMarkdown(stored));
  });

  it('is refused before it begins where a model could not hold its traffic', async () => {
    const many = { ...example, soak: { minComparisons: 100_000_000 } };
    await expect(rehearse(options(many, 'completed'))).rejects.toThrow(TooMuchTrafficError);
  });
});

describe('a run whose input says that it is a rehearsal', () => {
  let env: TestWorkflowEnvironment;
  let clock: SkippedClock;

  beforeAll(async () => {
    env = await startTestServer(testServer);
    clock = new SkippedClock(env);
  });

  afterAll(async () => {
    await clock.drain();
    await env.teardown();
  });

  it('gives no activity to the workers of its task queue, which serve another run beside it', async () => {
    const [real, model] = [new FleetModel(clock), new FleetModel(clock)];
    const common = { connection: env.nativeConnection, workflowBundle: bundle };
    const worker = await Worker.create({ ...common, taskQueue: 'both', activities: { ...real.activities } });
    const rehearsing = await Worker.create({
      ...common,
      taskQueue: 'both-rehearsal',
      activities: { ...model.activities },
    });
    real.findings = [{ kind: 'input', what: 'Topic orders does not exist.', todo: 'Correct the name.' }];
    const client: Client = env.client;
    const start = async (workflowId: string, taskQueue: string, rehearsal: boolean) =>
      await client.workflow.start('migrateKafkaToOwlmq', { workflowId, taskQueue, args: [{ ...brief, rehearsal }] });
    let asked: Promise<void> | undefined;
    // None of the parts ends before the workflow has taken the rollback: the test server would refuse to cancel it then.
    model.before = async ({ activity }) => {
      if (activity !== 'auditToOwlmq') return;
      asked ??= askRollback(client.workflow.getHandle('rehearsed'), { reason: 'enough' });
      await asked;
    };
    await rehearsing.runUntil(
      worker.runUntil(async () => {
        const rehearsed = await start('rehearsed', 'both', true);
        const other = await start('other', 'both', false);
        const stray = await start('stray', 'both-rehearsal', false);
        await expect(other.result()).rejects.toMatchObject({
          cause: { message: expect.stringContaining('orders does not exist') as string },
        });
        await expect(stray.result()).rejects.toMatchObject({
          cause: { message: expect.stringContaining('must be true') as string },
        });
        expect(await rehearsed.result()).toMatchObject({ phase: 'rolled-back', rehearsal: true });
      }),
    );
    expect(real.calls.map(({ activity }) => activity)).toEqual(['preflight']);
    expect(model.routing.every(({ reason }) => reason.startsWith('rehearsal: '))).toBe(true);
    const recorded = await readMigration(client, 'rehearsed');
    const { activities } = extractFacts(recorded);
    expect(new Set(activities.map(({ taskQueue }) => taskQueue))).toEqual(new Set(['both-rehearsal']));
    expect(buildEvidence(recorded).people).toMatchObject([{ kind: 'signal', name: 'rollback', reason: 'enough' }]);
  });
});
