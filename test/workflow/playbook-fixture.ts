import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { type MigrationInput, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import { newMigrationState, PHASES, type CarriedOver } from '../../src/workflows/migration-state.js';
import { PHASE_HEADER } from '../../src/workflows/phase-header.js';
import type { migrateKafkaToOwlmq } from '../../src/workflows/playbook.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { FleetModel, type ModelCall } from '../../rehearsal/fleet-model.js';
import { recordHistory } from './histories.js';
import { SkippedClock } from '../../rehearsal/skipped-clock.js';
import { startTestServer } from '../../rehearsal/test-server.js';
import { bundleWorkflowSources } from './workflow-bundle.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';

/**
 * The time-skipping server refuses a workflow task that cancels an activity which has just ended, as one of two that run
 * side by side may, and never gives another one (like temporalio/sdk-java, issue 3088): a run that hangs for that is tried
 * once more, on a server of its own.
 */
export const onSkippedTime = { timeout: 180_000, retry: 1 };

export const defaults: MigrationInput = { topics: ['orders'], groups: ['payments', 'mails'] };

/** As a run leaves it that continued as new in the soak. */
export function inSoak(of: MigrationInput): CarriedOver {
  return {
    plan: parseMigrationInput(of),
    state: {
      ...newMigrationState('2026-01-01T00:00:00.000Z'),
      phase: 'shadow-soak',
      epoch: 12,
      partitions: { orders: 2 },
      routing: { ratio: 1, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'compare', shadowFrom: {} },
      ratio: { wanted: 1, acknowledged: 1, settled: true },
      auditFrom: { orders: [0, 0] },
      coverage: { orders: [0, 0] },
    },
  };
}

/** Of the test that runs: a clock of its own for each, so that none inherits another's skipped time. */
let env: TestWorkflowEnvironment;
let clock: SkippedClock;
let bundle: WorkflowBundleWithSourceMap;

/** Gives each test of a file a clock of its own. */
export function usePlaybook(): void {
  beforeAll(async () => {
    installQuietRuntime();
    bundle = await bundleWorkflowSources([
      fileURLToPath(new URL('../../rehearsal/without-heartbeat-timeouts.ts', import.meta.url)),
    ]);
  });

  beforeEach(async () => {
    env = await startClock();
    clock = new SkippedClock(env);
  });

  afterEach(async () => {
    await clock.drain();
    await env.teardown();
  });
}

/** Skips time on the clock of the test that runs. */
export async function skip(durationMs: number): Promise<void> {
  await env.sleep(durationMs);
}

async function startClock(): Promise<TestWorkflowEnvironment> {
  const path = process.env['TEMPORAL_TEST_SERVER'];
  if (path === undefined) throw new Error('TEMPORAL_TEST_SERVER is not set: run the tests with npm test');
  return await startTestServer(path);
}

export type Handle = WorkflowHandle<typeof migrateKafkaToOwlmq>;

interface Scenario {
  /** State of a run before, which this one continues. */
  carried?: CarriedOver;
  /** Name under which the run's history is stored when histories are recorded. */
  record?: string;
  input?: MigrationInput;
  model?: FleetModel;
  /** Runs before each activity, with the number of calls to it so far. */
  before?: (call: ModelCall, nth: number, handle: Handle) => Promise<void> | void;
}

export function newModel(): FleetModel {
  return new FleetModel(clock);
}

/** Runs a migration on the skipped clock while `use` has its handle. */
export async function run<T>(scenario: Scenario, use: (handle: Handle, model: FleetModel) => Promise<T>): Promise<T> {
  const model = scenario.model ?? newModel();
  const taskQueue = `test-${randomUUID()}`;
  const worker = await Worker.create({
    connection: env.nativeConnection,
    taskQueue,
    workflowBundle: bundle,
    activities: { ...model.activities },
    maxHeartbeatThrottleInterval: '20 milliseconds',
    defaultHeartbeatThrottleInterval: '20 milliseconds',
  });
  return await worker.runUntil(async () => {
    const workflowId = `migration-${randomUUID()}`;
    const handle = env.client.workflow.getHandle<typeof migrateKafkaToOwlmq>(workflowId);
    const { before, input = { ...defaults, decommission: 'automatic' } } = scenario;
    if (before !== undefined) model.before = (call, nth) => before(call, nth, handle);
    await env.client.workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
      taskQueue,
      workflowId,
      args: scenario.carried === undefined ? [input] : [input, scenario.carried],
    });
    const result = await use(handle, model);
    const history = await handle.fetchHistory();
    expect(withoutSummary(history)).toEqual([]);
    expect(withoutPhase(history)).toEqual([]);
    if (scenario.record !== undefined) await recordHistory(scenario.record, historyToJSON(history));
    return result;
  });
}

/** Activities and timers that the UI would show without a word on what they are for. */
function withoutSummary({ events }: Awaited<ReturnType<Handle['fetchHistory']>>): string[] {
  return (events ?? [])
    .filter(({ userMetadata }) => userMetadata?.summary == null)
    .flatMap(({ activityTaskScheduledEventAttributes: activity, timerStartedEventAttributes: timer }) => [
      ...(activity == null ? [] : [activity.activityType?.name ?? 'an activity']),
      ...(timer == null ? [] : [`timer ${timer.timerId ?? ''}`]),
    ]);
}

/** Activities whose worker would not know what phase to log. */
function withoutPhase({ events }: Awaited<ReturnType<Handle['fetchHistory']>>): string[] {
  const known: readonly string[] = PHASES;
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: activity }) => {
    if (activity == null) return [];
    const header = activity.header?.fields?.[PHASE_HEADER];
    const phase = header == null ? 'none' : defaultPayloadConverter.fromPayload<string>(header);
    return known.includes(phase) ? [] : [`${activity.activityType?.name ?? 'an activity'}: ${phase}`];
  });
}

/** Routing states in words, without the envelope. */
export function routes(model: FleetModel): string[] {
  return model.routing.map(({ ratio, primary, live, mirror, shadow, fence, drain }) =>
    [
      `${ratio * 100}%`,
      primary,
      live === primary ? '' : `live ${live}`,
      shadow === 'off' ? '' : shadow,
      fence === undefined ? '' : 'fence',
      drain === undefined ? '' : 'drain',
      mirror ? '' : 'alone',
    ]
      .filter((word) => word !== '')
      .join(' '),
  );
}

/**
 * Skips time in small steps until the workflow's status satisfies `wanted`. While a run waits for a person nobody may
 * await its result: with no timer left, the clock would jump to the end of the run's lifetime. And while an activity
 * sleeps on the skipped clock this must not be used: `stepMs` 0 polls in real time.
 */
export async function untilStatus(
  handle: Handle,
  wanted: (status: MigrationStatus) => boolean,
  stepMs = 10 * 60_000,
): Promise<MigrationStatus> {
  for (let step = 0; step < 1_000; step += 1) {
    const status = await readStatus(handle);
    if (wanted(status)) return status;
    if (stepMs > 0) await skip(stepMs);
    else await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`status not reached: ${JSON.stringify(await readStatus(handle), null, 2)}`);
}

/**
 * Asks for a rollback from inside an activity, and lets the activity go on only once the workflow has taken it: this
 * test server refuses to cancel an activity that completes at the same moment.
 */
export async function askRollback(
  handle: Handle,
  input: { reason: string; by?: string; force?: boolean },
): Promise<void> {
  await handle.signal('rollback', input);
  await untilStatus(handle, ({ rollback }) => rollback !== null, 0);
}

/** Polls until an event of a kind is in the history. */
export async function untilEvent(handle: Handle, attributes: string): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    const { events } = await handle.fetchHistory();
    if ((events ?? []).some((event) => attributes in event)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no event with ${attributes}`);
}

export async function readStatus(handle: Handle): Promise<MigrationStatus> {
  return await handle.query<MigrationStatus>('status');
}
