import { randomInt } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { expect, it } from 'vitest';
import { startEngines } from '../../engines/start-engines.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { Trial, type TrialReport } from '../../demo/trial.js';
import { documentedMetrics, exposedMetrics } from '../documented-metrics.js';
import { quickPace } from './quick-pace.js';

// The programs of the fleet and the workflow bundle run as built: `npm test` builds before it tests.

const clean = { lost: 0, duplicated: 0, reordered: 0, invented: 0, altered: 0 };

/** A whole migration under traffic on the engines of the test run, with names of its own. */
async function migrate(): Promise<
  TrialReport & {
    metrics: string;
    routing: unknown;
    status: MigrationStatus | undefined;
    workerLog: string;
    secrets: string[];
  }
> {
  const seed = randomInt(1_000_000);
  const name = `it-${seed}-${Date.now().toString(36)}`;
  console.info(`seed ${seed}, migration ${name}`);
  const folder = await mkdtemp(join(tmpdir(), 'kafka-to-owlmq-test-'));
  const engines = await startEngines({ want: ['temporal', 'kafka', 'owlmq'] });
  const metricsAddress = `127.0.0.1:${await getPort()}`;
  const observationsAddress = `127.0.0.1:${await getPort()}`;
  const token = 'the-token-of-this-test';
  let metrics: Promise<string> | undefined;
  let routing: Promise<unknown> | undefined;
  let trial: Trial | undefined;
  let warm: MigrationStatus | undefined;
  try {
    const cli = process.env.TEMPORAL_CLI;
    if (cli === undefined) throw new Error('TEMPORAL_CLI is not set');
    const phases = new Set<string>();
    trial = await Trial.prepare({
      temporalCli: cli,
      temporalAddress: engines.temporal.address,
      migration: name,
      taskQueue: name,
      topics: { orders: `${name}-orders`, payments: `${name}-payments` },
      groups: [`${name}-payment-service`, `${name}-notification-service`],
      membersPerGroup: 2,
      producers: 2,
      partitions: 3,
      keys: 60,
      rate: 100,
      foreignRate: 20,
      seed,
      pace: { ...quickPace, noise: { duration: '1 second', minComparisons: 50 } },
      trafficAfterMs: 1_500,
      limitMs: 150_000,
      env: {
        ...engines.env,
        METRICS_ADDRESS: metricsAddress,
        OBSERVATIONS_ADDRESS: observationsAddress,
        OBSERVATIONS_TOKEN: token,
      },
      folder,
      log: (line) => {
        console.info(line);
      },
      signal: AbortSignal.timeout(200_000),
      onProgress: ({ status }) => {
        if (!phases.has(status.phase)) console.info(status.phase);
        if (status.phase === 'warm') {
          warm = status;
          metrics ??= fetch(`http://${metricsAddress}/metrics`).then((answer) => answer.text());
          routing ??= fetch(`http://${observationsAddress}/v1/migrations/${name}/routing`, {
            headers: { authorization: `Bearer ${token}` },
          }).then((answer) => answer.json());
        }
        phases.add(status.phase);
      },
    });
    const report = await trial.run();
    await trial.stop();
    const workerLog = await readFile(join(folder, 'worker.log'), 'utf8');
    const secrets = [token, engines.owlmq.apiKey];
    return { ...report, metrics: (await metrics) ?? '', routing: await routing, status: warm, workerLog, secrets };
  } finally {
    await trial?.stop();
    await engines.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function expectClean({ check, problems, discrepancies, comparisons }: TrialReport): void {
  expect(problems).toEqual([]);
  expect(check.published.acknowledged).toBeGreaterThan(200);
  expect(Object.keys(check.groups)).toHaveLength(2);
  for (const group of Object.values(check.groups)) {
    expect(group).toMatchObject(clean);
    // Both sides of the migration have done some of the work.
    expect(group.onKafka).toBeGreaterThan(0);
    expect(group.onOwlmq).toBeGreaterThan(0);
  }
  expect(discrepancies).toBe(0);
  expect(comparisons).toBeGreaterThan(100);
}

const playbook = ['preflight', 'dual-write', 'shadow-soak', 'ready', 'cutover', 'warm'];

it('migrates a fleet that keeps running, from Kafka to OwlMQ', { timeout: 240_000 }, async () => {
  const report = await migrate();
  expectClean(report);
  expect(report.outcome).toBe('completed');
  const [first = '', ...rest] = playbook;
  expect([...new Set(report.phases.map(({ phase }) => phase))]).toEqual([first, 'noise', ...rest, 'decommission']);
  expect(report.hold.cutoverMs).toBeGreaterThan(0);
  for (const { legSwitches } of Object.values(report.check.groups)) expect(legSwitches).toBe(1);
  // A producer that knows nothing of the migration took part, and had to be gone before Kafka was left.
  expect(report.foreign?.forwarded).toBeGreaterThan(0);
  expect(report.foreign?.decommissionRefused).toBe(true);
  expectMetrics(report.metrics, await documentedMetrics('Worker'));
  expectLog(report.workerLog, report.secrets);
  // By the worker, over HTTP.
  expect(report.routing).toMatchObject({ live: 'owlmq', mirror: true, shadow: 'off' });
  expectTold(report.status);
});

/** What the worker says once the ramp is through: all that is documented, and of this migration. */
function expectMetrics(text: string, documented: readonly string[]): void {
  expect(exposedMetrics(text, 'kafka_to_owlmq_')).toEqual(documented);
  for (const name of documented) expect(text).toMatch(new RegExp(`^${name}\\{.*migration="it-.*\\} [\\d.]+$`, 'm'));
  expect(text).toMatch(/^kafka_to_owlmq_migration_phase\{.*phase="warm".*\} 1$/m);
  expect(text).toMatch(/^kafka_to_owlmq_migration_ratio\{.*ratio="acknowledged".*\} 1$/m);
  expect(text).toMatch(/^kafka_to_owlmq_group_lag_messages\{.*side="kafka".*\} \d+$/m);
  // Held or not at that moment.
  const publishers = [...text.matchAll(/^kafka_to_owlmq_members\{.*migration="it-.*role="publisher".*\} (\d+)$/gm)];
  expect(publishers.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(2);
  expect(exposedMetrics(text, 'temporal_').length).toBeGreaterThan(10);
}

/** Lines are objects; those of workflows say where the migration stands; no secret and no message is in any. */
function expectLog(text: string, secrets: readonly string[]): void {
  const lines = text
    .split('\n')
    // Warnings of Node itself are between them.
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const noted = lines.filter(({ msg }) => typeof msg === 'string' && msg.startsWith('phase '));
  expect(noted.map(({ phase }) => phase)).toEqual(expect.arrayContaining(['dual-write', 'shadow-soak', 'cutover']));
  for (const { migration, epoch } of noted)
    expect({ migration, epoch: typeof epoch }).toEqual({
      migration: expect.stringMatching(/^it-/) as string,
      epoch: 'number',
    });
  for (const secret of [...secrets, 'cents']) expect(text).not.toContain(secret);
}

/** What the status says once the ramp is through. */
function expectTold(status: MigrationStatus | undefined): void {
  expect(status?.parity?.kafkaMessages).toBeGreaterThan(0);
  expect(status?.parity?.rates).toBeDefined();
  expect(Object.keys(status?.noise?.groups ?? {})).toHaveLength(2);
  for (const { comparisons, ...found } of Object.values(status?.noise?.groups ?? {})) {
    expect(comparisons).toBeGreaterThanOrEqual(50);
    expect(found).toMatchObject({ different: 0, failed: 0, alone: 0, fields: {}, ignore: [] });
  }
  const [foreign] = Object.values(status?.foreign ?? {});
  expect(foreign).toMatchObject({ forward: true });
  expect(foreign?.forwarded).toBeGreaterThan(0);
  // Nothing of what was forwarded counts as missing or repaired.
  expect(status?.ramp).toMatchObject({ verdict: 'success', step: 1 });
  expect(status?.ramp?.metrics.find(({ name }) => name === 'parity')).toMatchObject({ verdict: 'success' });
  expect(status?.ramp?.metrics.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['publishers', 'copy failures', 'OwlMQ latency', 'lane backlog', 'oldest copy', 'traffic']),
  );
}
