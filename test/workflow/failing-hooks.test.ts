import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { NativeConnection, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HookEvent, MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { FleetModel, type ModelCall } from '../../rehearsal/fleet-model.js';
import { wallClock } from '../../rehearsal/wall-clock.js';
import type { CallHookRequest } from '../../src/activities/migration-activities.js';
import type { migrateKafkaToOwlmq } from '../../src/workflows/playbook.js';
import type { MigrationStatus } from '../../src/workflows/status.js';
import { untilStatus, type Handle } from './playbook-fixture.js';
import { readyToCutOver } from './ready-to-cut-over.js';
import { bundleWorkflowSources } from './workflow-bundle.js';
import { installQuietRuntime } from '../../rehearsal/quiet-runtime.js';

// On Temporal's dev server and the clock of the wall: a window whose steps are cancelled is too much for the server that
// skips time.

const within = { timeout: 60_000 };

let connection: Connection;
let native: NativeConnection;
let bundle: WorkflowBundleWithSourceMap;

beforeAll(async () => {
  installQuietRuntime();
  const address = process.env['TEMPORAL_ADDRESS'];
  if (address === undefined) throw new Error('TEMPORAL_ADDRESS is not set: run the tests with npm test');
  [connection, native, bundle] = await Promise.all([
    Connection.connect({ address }),
    NativeConnection.connect({ address }),
    bundleWorkflowSources(),
  ]);
});

afterAll(async () => {
  await connection.close();
  await native.close();
});

type Hooks = NonNullable<MigrationInput['hooks']>;

const batch: Hooks[number] = {
  ...{ name: 'billing-batch', kind: 'webhook', groups: ['mails'] },
  at: ['hold-publishers', 'stop-consumers', 'resume-on-owlmq', 'resume-on-kafka'],
};

type Story = string[];

/** What a run did to hooks and routing, in order. */
function storyOf(model: FleetModel): Story {
  return model.calls.flatMap(({ activity, argument }) => {
    if (activity === 'callHook') return [`hook: ${(argument as CallHookRequest).event}`];
    if (activity === 'moveOffsets') return [activity];
    if (activity !== 'applyRouting') return [];
    const { fence, drain, primary } = argument as (typeof model.routing)[number];
    return [`route: ${[primary, ...(fence ? ['fence'] : []), ...(drain ? ['drain'] : [])].join(' ')}`];
  });
}

/** Runs a migration from `ready` on; `fail` may throw, or take its time, ahead of each call of a hook. */
async function run(
  hooks: Hooks,
  fail: (event: HookEvent, nth: number) => Promise<void> | void,
  use: (handle: Handle, model: FleetModel) => Promise<void>,
): Promise<void> {
  const model = new FleetModel(wallClock);
  const calls = new Map<HookEvent, number>();
  model.before = async ({ activity, argument }: ModelCall) => {
    if (activity !== 'callHook') return;
    const { event } = argument as CallHookRequest;
    const nth = (calls.get(event) ?? 0) + 1;
    calls.set(event, nth);
    await fail(event, nth);
  };
  const taskQueue = `test-${randomUUID()}`;
  const worker = await Worker.create({
    ...{ connection: native, taskQueue, workflowBundle: bundle, activities: { ...model.activities } },
    ...{ maxHeartbeatThrottleInterval: '20 milliseconds', defaultHeartbeatThrottleInterval: '20 milliseconds' },
  });
  await worker.runUntil(async () => {
    const carried = readyToCutOver({ hooks });
    const handle = await new Client({ connection }).workflow.start<typeof migrateKafkaToOwlmq>('migrateKafkaToOwlmq', {
      ...{ taskQueue, workflowId: `migration-${randomUUID()}`, workflowRunTimeout: '1 minute' },
      // The playbook takes up what a run before it has left.
      args: [carried.plan, carried],
    });
    try {
      await use(handle, model);
    } finally {
      const { status } = await handle.describe();
      if (status.name === 'RUNNING') await handle.terminate('the test has ended');
    }
  });
}

const refused = () => ApplicationFailure.nonRetryable('HTTP 409: no such batch', 'HookRefused');

/** Looks in real time. */
const until = (handle: Handle, wanted: (status: MigrationStatus) => boolean) => untilStatus(handle, wanted, 0);

async function confirm(handle: Handle, event: HookEvent): Promise<string> {
  return await handle.executeUpdate<string, [unknown]>('confirmHook', {
    args: [{ name: batch.name, event, by: 'ann', ok: true }],
  });
}

describe('a hook that fails', within, () => {
  it('cancels the window before the journal, lets its receiver go on, and is called anew in the next one', async () => {
    await run(
      [batch],
      (event, nth) => {
        if (event === 'stop-consumers' && nth === 1) throw refused();
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.cutover.attempts).toBe(2);
        expect(status.cutover.lastCancel).toMatchObject({
          reason: 'hook billing-batch at stop-consumers: HTTP 409: no such batch',
          errors: [],
        });
        expect(storyOf(model).slice(0, 10)).toEqual([
          'route: kafka fence',
          'hook: hold-publishers',
          'route: kafka fence drain',
          'hook: stop-consumers',
          'route: kafka',
          'hook: resume-on-kafka',
          'route: kafka fence',
          'hook: hold-publishers',
          'route: kafka fence drain',
          'hook: stop-consumers',
        ]);
        const attempts = model.named('callHook').map(({ argument }) => (argument as CallHookRequest).attempt);
        expect(attempts.slice(0, 4)).toEqual([1, 1, 1, 2]);
      },
    );
  });

  it('does not hold a cancel up, and is made to go on before anything is tried again', async () => {
    await run(
      [batch],
      (event, nth) => {
        if (event === 'hold-publishers' && nth === 1) throw refused();
        if (event === 'resume-on-kafka' && nth <= 2) throw refused();
      },
      async (handle, model) => {
        const blocked = await until(handle, (status) => status.blocked !== null);
        expect(blocked.blocked?.step).toBe('hooks at resume-on-kafka');
        expect(blocked.cutover.lastCancel?.errors).toEqual([
          'hook billing-batch at resume-on-kafka: HTTP 409: no such batch',
        ]);
        // Publishers hold no longer, whatever the hook says.
        expect(model.lastRouting?.fence).toBeUndefined();
        expect(model.named('callHook')).toHaveLength(3);
        expect(await confirm(handle, 'resume-on-kafka')).toContain('taken');
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'completed', cutover: { attempts: 2 } });
        expect(
          status.hooks.filter(({ event }) => event === 'resume-on-kafka').map(({ state, by }) => [state, by]),
        ).toEqual([
          ['failed', undefined],
          ['done', 'ann'],
        ]);
      },
    );
  });

  it('behind the journal is called again once somebody resumes it: the cutover rolls forward', async () => {
    await run(
      [batch],
      (event, nth) => {
        if (event === 'resume-on-owlmq' && nth <= 2) throw refused();
      },
      async (handle, model) => {
        for (const failures of [1, 2]) {
          const status = await until(
            handle,
            ({ blocked, hooks }) =>
              blocked !== null && hooks.filter(({ state }) => state === 'failed').length === failures,
          );
          expect(status.blocked?.step).toBe('hooks at resume-on-owlmq');
          expect(status.cutover.journaledAt).toEqual(expect.any(String));
          expect(model.lastRouting).toMatchObject({ primary: 'owlmq', live: 'owlmq' });
          await handle.signal('resume', { by: 'ann' });
          // Taken: what is blocked next is another failure.
          await until(handle, ({ log }) => log.filter(({ text }) => text.includes('asked by ann')).length === failures);
        }
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'completed', cutover: { attempts: 1 } });
        expect(storyOf(model).filter((line) => line === 'hook: resume-on-owlmq')).toHaveLength(3);
      },
    );
  });

  it('to answer within the window is cancelled with it', async () => {
    let ended = 0;
    await run(
      [batch],
      async (event, nth) => {
        if (event !== 'hold-publishers' || nth > 1) return;
        const beat = setInterval(() => {
          Context.current().heartbeat();
        }, 50);
        try {
          await Context.current().cancelled;
        } finally {
          clearInterval(beat);
          ended += 1;
        }
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'completed', cutover: { attempts: 2 } });
        expect(status.cutover.lastCancel?.reason).toContain('the window of 8 s was over');
        expect(ended).toBe(1);
        expect(status.hooks[0]).toMatchObject({ event: 'hold-publishers', state: 'cancelled' });
        expect(storyOf(model)[2]).toBe('route: kafka');
      },
    );
  });

  it('to be confirmed in its own time cancels the window', async () => {
    const operator: Hooks[number] = {
      ...{ name: 'operator', kind: 'confirmation', timeout: '500 milliseconds' },
      at: ['hold-publishers', 'resume-on-owlmq', 'resume-on-kafka'],
    };
    await run(
      [operator],
      () => undefined,
      async (handle, model) => {
        const status = await until(handle, ({ cutover }) => cutover.lastCancel !== undefined);
        expect(status.cutover.lastCancel?.reason).toBe('hook operator at hold-publishers: not confirmed within 0.5 s');
        expect(storyOf(model).slice(0, 2)).toEqual(['route: kafka fence', 'route: kafka']);
        expect(model.named('moveOffsets')).toHaveLength(0);
      },
    );
  });
});
