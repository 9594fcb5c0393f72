import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { migrateKafkaToOwlmq } from '../../src/workflows/playbook.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';
import { recordHistory } from './histories.js';
import { modelledActivities, shortInput, untilRead } from './real-time-model.js';
import { bundleWorkflowSources } from './workflow-bundle.js';

const name = randomUUID();
const deploymentName = `migrations-${name}`;
const taskQueue = `upgrade-${name}`;
const namespace = 'default';

let client: Client;
let nativeConnection: NativeConnection;
let common: WorkerOptions;

beforeAll(async () => {
  installQuietRuntime();
  const address = process.env['TEMPORAL_ADDRESS'] ?? '';
  client = new Client({ connection: await Connection.connect({ address }) });
  nativeConnection = await NativeConnection.connect({ address });
  const workflowBundle = await bundleWorkflowSources();
  const activities = modelledActivities();
  common = {
    ...{ connection: nativeConnection, taskQueue, workflowBundle, activities },
    shutdownGraceTime: '2 seconds',
  };
});

afterAll(async () => {
  await nativeConnection.close();
  await client.connection.close();
});

/** A worker of a build, until it is stopped. */
async function startWorker(buildId: string, options: Partial<WorkerOptions> = {}): Promise<() => Promise<void>> {
  const worker = await Worker.create({
    ...common,
    ...options,
    workerDeploymentOptions: {
      ...{ version: { deploymentName, buildId }, useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE' },
    },
  });
  const running = worker.run();
  return async () => {
    worker.shutdown();
    await running;
  };
}

/** What `temporal worker deployment set-current-version` does; refused until a worker of the build polls. */
async function setCurrent(buildId: string): Promise<void> {
  const set = () =>
    client.workflowService.setWorkerDeploymentCurrentVersion({ namespace, deploymentName, buildId }).then(
      () => 'set',
      (error: unknown) => String(error),
    );
  await untilRead(set, (outcome) => outcome === 'set');
}

it('carries a migration over to a new version in the middle of its soak', { timeout: 180_000 }, async () => {
  // As a build from before there was any patch.
  const stopFirst = await startWorker('1', { patchActivationCallback: () => false });
  await setCurrent('1');
  const input = shortInput(name, { soak: { duration: 8_000, minComparisons: 1, lateness: 100 } });
  const handle = await client.workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
    ...{ taskQueue, workflowId: `migration-${name}`, args: [input] },
  });
  const status = () => handle.query<MigrationStatus>('status');
  const builds = async () => {
    const { events } = await handle.fetchHistory();
    return (events ?? []).flatMap(
      ({ workflowTaskCompletedEventAttributes: task }) => task?.deploymentVersion?.buildId ?? [],
    );
  };
  const before = await untilRead(status, ({ phase, soak }) => phase === 'shadow-soak' && soak.cleanMs > 1_000);
  const stopSecond = await startWorker('2');
  await setCurrent('2');
  await untilRead(builds, (all) => all.at(-1) === '2');
  await stopFirst();
  expect((await status()).soak).toMatchObject({ restarts: 0 });
  expect((await status()).soak.cleanMs).toBeGreaterThanOrEqual(before.soak.cleanMs);

  const end = await handle.result();
  expect(end).toMatchObject({ phase: 'completed', soak: { restarts: 0 } });
  const all = await builds();
  expect([...new Set(all)]).toEqual(['1', '2']);
  expect(all.lastIndexOf('1')).toBeLessThan(all.indexOf('2'));
  // What the new version does otherwise holds for all that was still to come.
  const { events } = await handle.fetchHistory();
  const first = (events ?? []).findIndex(
    (event) => event.workflowTaskCompletedEventAttributes?.deploymentVersion?.buildId === '2',
  );
  const patches = (events ?? []).flatMap((event, index) =>
    event.markerRecordedEventAttributes == null ? [] : [index],
  );
  expect(patches.length).toBeGreaterThan(0);
  expect(Math.min(...patches)).toBeGreaterThan(first);
  await recordHistory('upgraded-in-soak', historyToJSON(await handle.fetchHistory()));
  await stopSecond();
});
