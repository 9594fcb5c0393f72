import {
  Client,
  Connection,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  type WorkflowHandle,
} from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { NativeConnection, Worker } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePortfolioInput, planWaves, type MigrationInput, type PortfolioInput } from '@owlmq/kafka-bridge/playbook';
import { portfolioActivities } from '../../src/activities/portfolio.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import type { migratePortfolio } from '../../src/workflows/portfolio/migrate-portfolio.js';
import type { PortfolioState } from '../../src/workflows/portfolio/portfolio-state.js';
import type { PortfolioStatus } from '../../src/workflows/portfolio/portfolio-status.js';
import type { FleetModel } from '../../rehearsal/fleet-model.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';
import { recordHistory } from './histories.js';
import { modelledActivities, shortInput as input, untilRead } from './real-time-model.js';
import { bundleWorkflowSources } from './workflow-bundle.js';

const taskQueue = `portfolio-${randomUUID()}`;
let client: Client;
let nativeConnection: NativeConnection;
let worker: Worker;
let running: Promise<void>;
/** What the preflight of a migration finds, by its id. */
const findings = new Map<string, FleetModel['findings']>();

beforeAll(async () => {
  installQuietRuntime();
  const address = process.env['TEMPORAL_ADDRESS'] ?? '';
  const connection = await Connection.connect({ address });
  client = new Client({ connection });
  nativeConnection = await NativeConnection.connect({ address });
  const temporal = () =>
    Promise.resolve({
      ...{ namespace: 'default', searchAttributes: ['MigrationBlocked', 'MigrationAttention'], retentionMs: undefined },
    });
  worker = await Worker.create({
    connection: nativeConnection,
    taskQueue,
    workflowBundle: await bundleWorkflowSources(),
    activities: { ...modelledActivities(findings), ...portfolioActivities({ client, temporal }) },
    maxHeartbeatThrottleInterval: '100 milliseconds',
    defaultHeartbeatThrottleInterval: '100 milliseconds',
  });
  running = worker.run();
});

afterAll(async () => {
  worker.shutdown();
  await running;
  await nativeConnection.close();
  await client.connection.close();
});

const untilApproved: Partial<MigrationInput> = { cutover: { trigger: 'approval' } };
const staysWarm: Partial<MigrationInput> = { decommission: 'approval' };

async function start(waves: PortfolioInput['waves'], more: Partial<PortfolioInput> = {}) {
  return await client.workflow.start<typeof migratePortfolio>('migratePortfolio', {
    ...{ taskQueue, workflowId: `portfolio-${randomUUID()}`, args: [{ waves, ...more }] },
  });
}

async function until<T>(workflowId: string, wanted: (status: T) => boolean): Promise<T> {
  const read = () => client.workflow.getHandle(workflowId).query<T>('status').catch(unknownYet);
  const status = await untilRead(read, (value) => value !== undefined && wanted(value));
  return status as T;
}

/** Before a portfolio has begun it. */
function unknownYet(error: unknown): undefined {
  if (error instanceof Error && error.name === 'WorkflowNotFoundError') return undefined;
  throw error;
}

async function attributes(portfolio: WorkflowHandle): Promise<unknown[]> {
  const { typedSearchAttributes: found } = await portfolio.describe();
  return [
    found.get(defineSearchAttributeKey('MigrationBlocked', SearchAttributeType.BOOL)),
    found.get(defineSearchAttributeKey('MigrationAttention', SearchAttributeType.KEYWORD)),
  ];
}

const states = ({ migrations }: PortfolioStatus) => migrations.map(({ state }) => state);
const untilState = (id: string, ...wanted: string[]) =>
  until<PortfolioStatus>(id, (status) => states(status).join() === wanted.join());

describe('a portfolio', { timeout: 280_000 }, () => {
  it('begins waves one after the other, stops at a failure, and goes on after it', async () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => `${name}-${randomUUID()}`) as [string, string, string];
    const portfolio = await start(
      [
        {
          migrations: [
            { id: a, input: input(a, staysWarm) },
            { id: b, input: input(b, { ...untilApproved, ...staysWarm }) },
          ],
        },
        { migrations: [{ id: c, input: input(c, untilApproved) }] },
      ],
      { limit: 1 },
    );
    const id = portfolio.workflowId;
    // One at a time, and one that is warm makes room.
    await untilState(id, 'running', 'waiting', 'waiting');
    const second = await untilState(id, 'running', 'running', 'waiting');
    expect(second).toMatchObject({ state: 'running', wave: 1, next: `wave 2, once all of wave 1 are warm` });
    expect(second.migrations[0]).toMatchObject({
      phase: expect.stringMatching(/warm|decommission/) as string,
      farEnough: true,
    });

    await portfolio.signal('pause', { by: 'ann', reason: 'freeze' });
    await portfolio.signal('puase');
    await until<MigrationStatus>(b, ({ phase }) => phase === 'ready');
    await client.workflow.getHandle(b).signal('approve', { by: 'ann' });
    const paused = await until<PortfolioStatus>(id, ({ migrations }) => migrations[1]?.farEnough === true);
    expect(paused).toMatchObject({
      state: 'paused',
      paused: { by: 'ann', reason: 'freeze' },
      unknownSignals: ['puase'],
    });
    expect(states(paused)).toEqual(['running', 'running', 'waiting']);
    await portfolio.signal('resume', { by: 'ann' });

    // The last one goes back: the portfolio stops, and the others go on.
    await until<MigrationStatus>(c, ({ phase }) => phase === 'ready');
    await client.workflow.getHandle(c).signal('rollback', { by: 'bob', reason: 'error rate' });
    const stopped = await untilState(id, 'running', 'running', 'rolled-back');
    expect(stopped).toMatchObject({ state: 'stopped', stopped: { id: c, why: 'rolled back: error rate' } });
    expect(await attributes(portfolio)).toEqual([true, `${c}: rolled back: error rate`]);
    const first = await client.workflow.getHandle(c).describe();
    await portfolio.signal('resume', { by: 'ann' });
    await untilState(id, 'running', 'running', 'running');
    expect((await client.workflow.getHandle(c).describe()).runId).not.toBe(first.runId);
    expect(await attributes(portfolio)).toEqual([false, undefined]);

    await until<MigrationStatus>(c, ({ phase }) => phase === 'ready');
    for (const migration of [a, b, c]) await client.workflow.getHandle(migration).signal('approve', { by: 'ann' });
    const end = await portfolio.result();
    expect(end.state).toBe('completed');
    expect(states(end)).toEqual(['completed', 'completed', 'completed']);
    const history = await portfolio.fetchHistory();
    expect(history.events?.length ?? 0).toBeLessThan(300);
    await recordHistory('portfolio-stopped-once', historyToJSON(history));
  });

  it('takes over what runs, says what it cannot take, and leaves migrations alone when it ends', async () => {
    const [a, b] = ['a', 'b'].map((name) => `${name}-${randomUUID()}`) as [string, string];
    const own = `portfolio-${randomUUID()}`;
    const byHand = await client.workflow.start('migrateKafkaToOwlmq', {
      ...{ taskQueue, workflowId: a, args: [input(a, untilApproved)] },
    });
    const waves = [
      {
        migrations: [
          { id: a, input: input(a, untilApproved) },
          { id: own, input: input('own') },
          { id: b, input: input(b, untilApproved) },
        ],
      },
    ];
    const portfolio = await client.workflow.start<typeof migratePortfolio>('migratePortfolio', {
      ...{ taskQueue, workflowId: own, args: [{ waves, limit: 2 }] },
    });
    const stopped = await until<PortfolioStatus>(own, ({ state }) => state === 'stopped');
    expect(stopped.migrations[0]).toMatchObject({ state: 'running', takenOver: true });
    expect(stopped.stopped).toMatchObject({ id: own, why: 'the id belongs to a workflow migratePortfolio' });
    const skip = (id: string) =>
      portfolio.executeUpdate<string, [object]>('skip', { args: [{ id, by: 'ann', reason: 'not ours' }] });
    await expect(skip(a)).rejects.toThrow(WorkflowUpdateFailedError);
    expect(await skip(own)).toContain('taken');
    await untilState(own, 'running', 'left-out', 'running');

    await portfolio.cancel();
    await expect(portfolio.result()).rejects.toThrow(WorkflowFailedError);
    for (const id of [a, b]) expect((await client.workflow.getHandle(id).describe()).status.name).toBe('RUNNING');
    const again = await start([{ migrations: [{ id: b, input: input(b, untilApproved) }] }]);
    expect((await untilState(again.workflowId, 'running')).migrations[0]).toMatchObject({ takenOver: true });
    // A run that is gone has failed, whoever ended it.
    await client.workflow.getHandle(b).terminate('by hand');
    const failed = await until<PortfolioStatus>(again.workflowId, ({ state }) => state === 'stopped');
    expect(failed.migrations[0]?.state).toBe('failed');
    await Promise.all([again.terminate(), byHand.terminate()]);
  });

  it('begins nothing beside a migration that is blocked, until somebody has helped it', async () => {
    const [a, b] = ['a', 'b'].map((name) => `${name}-${randomUUID()}`) as [string, string];
    findings.set(a, [{ kind: 'state', what: 'Retention is too short.', todo: 'Raise retention.ms.' }]);
    const waves = [a, b].map((id) => ({ migrations: [{ id, input: input(id) }] }));
    const portfolio = await start(waves);
    const held = await until<PortfolioStatus>(portfolio.workflowId, ({ state }) => state === 'held');
    expect(states(held)).toEqual(['running', 'waiting']);
    expect(held.migrations[0]?.why).toContain('blocked');
    expect(held.next).toBe(`nothing new begins while ${a} ${held.migrations[0]?.why ?? ''}`);
    // A search finds the migration that is blocked.
    expect(await attributes(portfolio)).toEqual([false, undefined]);

    findings.delete(a);
    await client.workflow.getHandle(a).signal('resume', { by: 'ann' });
    const end = await portfolio.result();
    expect(states(end)).toEqual(['completed', 'completed']);
  });

  it('goes on from what the run before knew, as after it continued as new', async () => {
    const [a, b] = ['a', 'b'].map((name) => `${name}-${randomUUID()}`) as [string, string];
    const waves = [a, b].map((id) => ({ migrations: [{ id, input: input(id, untilApproved) }] }));
    const begun = await client.workflow.start('migrateKafkaToOwlmq', {
      ...{ taskQueue, workflowId: a, args: [input(a, untilApproved)] },
    });
    const startedAt = new Date().toISOString();
    const members: PortfolioState['members'] = [
      { id: a, wave: 1, state: 'running', since: startedAt },
      { id: b, wave: 2, state: 'waiting' },
    ];
    const carried: PortfolioState = { startedAt, members, searchAttributes: [], unknownSignals: [], log: [] };
    const portfolio = await client.workflow.start<typeof migratePortfolio>('migratePortfolio', {
      ...{ taskQueue, workflowId: `portfolio-${randomUUID()}`, args: [{ waves }, carried] },
    });
    await until<MigrationStatus>(a, ({ phase }) => phase === 'ready');
    expect(states(await until(portfolio.workflowId, () => true))).toEqual(['running', 'waiting']);
    await begun.signal('approve', { by: 'ann' });
    await until<MigrationStatus>(b, ({ phase }) => phase === 'ready');
    await client.workflow.getHandle(b).signal('approve', { by: 'ann' });
    const end = await portfolio.result();
    expect(end).toMatchObject({ state: 'completed', startedAt });
    expect(states(end)).toEqual(['completed', 'completed']);
  });

  it('is refused with everything that is wrong', async () => {
    const wrong = {
      waves: [
        { migrations: [{ id: 'a', input: { topics: ['t'], groups: ['g'], ramp: { interval: 'soon' } } }] },
        {
          migrations: [
            { id: 'a', input: input('u') },
            { id: 'b', input: { topics: ['t'], groups: ['g', 'h'] } },
          ],
        },
      ],
      limit: 0,
    };
    const portfolio = await client.workflow.start('migratePortfolio', {
      ...{ taskQueue, workflowId: `portfolio-${randomUUID()}`, args: [wrong] },
    });
    const error: unknown = await portfolio.result().catch((failure: unknown) => failure);
    const { message } = (error as WorkflowFailedError).cause as Error;
    expect(message).toContain('waves.0.migrations.0.input.ramp.interval: "soon" is not a duration');
    expect(message).toContain('limit: ');
    expect(message).toContain('two migrations have the id a');
    expect(message).toContain('topic t is part of a and of b');
    expect(message).toContain('group g is part of a and of b');
  });
});

it('plans a wave by its limit', () => {
  const hour = { ramp: { step: 1, interval: '1 hour' }, soak: { duration: '2 hours' }, warm: { duration: '5 days' } };
  const migrations = ['a', 'b', 'c'].map((id) => ({ id, input: { topics: [id], groups: [id], ...hour } }));
  const waves = (limit: number, until: 'warm' | 'completed') =>
    planWaves(parsePortfolioInput({ waves: [{ migrations }], limit, until })).map(({ atLeastMs }) => atLeastMs);
  expect(waves(2, 'warm')).toEqual([6 * 3_600_000]);
  expect(waves(3, 'completed')).toEqual([(3 + 5 * 24) * 3_600_000]);
});
