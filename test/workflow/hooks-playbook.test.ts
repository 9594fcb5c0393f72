import { WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { type MigrationInput, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { FleetModel } from '../../rehearsal/fleet-model.js';
import type { CallHookRequest } from '../../src/activities/migration-activities.js';
import type { ConfirmHookInput } from '../../src/workflows/hooks.js';
import {
  askRollback,
  defaults,
  inSoak,
  newModel,
  onSkippedTime,
  readStatus,
  run,
  usePlaybook,
  type Handle,
} from './playbook-fixture.js';

const HOUR = 3_600_000;

usePlaybook();

type Hooks = NonNullable<MigrationInput['hooks']>;

const batch: Hooks[number] = {
  ...{ name: 'billing-batch', kind: 'webhook', groups: ['mails'] },
  at: ['hold-publishers', 'stop-consumers', 'resume-on-owlmq', 'resume-on-kafka', 'stop-kafka-writes'],
};
const operator: Hooks[number] = { name: 'operator', kind: 'confirmation', at: ['before-cutover'], timeout: '8 hours' };

/** From the soak on, with little of it to do. */
function withHooks(hooks: Hooks, change: Partial<MigrationInput> = {}) {
  const input: MigrationInput = {
    ...{ ...defaults, decommission: 'automatic', hooks },
    ...{ soak: { duration: '10 hours' }, warm: { duration: '1 hour' } },
    ...change,
  };
  const carried = inSoak(input);
  carried.state.coverage = { orders: [0, 0] };
  return { input, carried };
}

const refused = (what = 'no such batch') => ApplicationFailure.nonRetryable(`HTTP 409: ${what}`, 'HookRefused');

async function confirm(handle: Handle, input: Partial<ConfirmHookInput>): Promise<string> {
  return await handle.executeUpdate<string, [unknown]>('confirmHook', { args: [{ by: 'ann', ok: true, ...input }] });
}

function hookCalls(model: FleetModel): CallHookRequest[] {
  return model.named('callHook').map(({ argument }) => argument as CallHookRequest);
}

/** What happened around the hooks, in order: their calls, and the activities that they must stand before and after. */
function story(model: FleetModel): string[] {
  return model.calls.flatMap(({ activity, argument }) => {
    switch (activity) {
      case 'callHook':
        return [`hook: ${(argument as CallHookRequest).event}`];
      case 'applyRouting': {
        const { fence, drain, primary, mirror } = argument as (typeof model.routing)[number];
        const state = [...(fence ? ['fence'] : []), ...(drain ? ['drain'] : []), ...(mirror ? [] : ['alone'])];
        return [`route: ${[primary, ...state].join(' ')}`];
      }
      case 'awaitDrained':
      case 'moveOffsets':
        return [activity];
      default:
        return [];
    }
  });
}

const toOwlmq = [
  'route: kafka fence',
  'hook: hold-publishers',
  'route: kafka fence drain',
  'hook: stop-consumers',
  'awaitDrained',
  'moveOffsets',
  'route: owlmq',
  'hook: resume-on-owlmq',
];

describe('a hook', onSkippedTime, () => {
  it('moves its group at each event of the cutover, and nobody else waits for that group', async () => {
    await run(withHooks([batch]), async (handle, model) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');
      expect(story(model)).toEqual([...toOwlmq, 'hook: stop-kafka-writes', 'route: owlmq alone']);
      const [hold, stop, resume] = hookCalls(model);
      expect(hold).toMatchObject({ hook: 'billing-batch', groups: ['mails'], reason: 'cutover', timeoutMs: 10_000 });
      expect(stop?.offsets?.orders).toHaveLength(2);
      expect(stop).toMatchObject({ leg: 'kafka', epoch: (hold?.epoch ?? 0) + 1, attempt: 1 });
      expect(resume).toMatchObject({ leg: 'owlmq', moves: [{ group: 'mails', exact: 2 }] });
      expect(status.hooks.map(({ event, state, by }) => [event, state, by])).toEqual(
        hookCalls(model).map(({ event }) => [event, 'done', 'its receiver']),
      );

      const groupsOf = (activity: string) =>
        model.named(activity).map(({ argument }) => (argument as { groups: string[] }).groups);
      for (const groups of [...groupsOf('watchSoak'), ...groupsOf('awaitConsumers')])
        expect(groups).toEqual(['payments']);
      for (const groups of [...groupsOf('moveOffsets'), ...groupsOf('watchWarm')]) {
        expect(groups).toEqual(['payments', 'mails']);
      }
      expect(model.named('checkReadiness')[0]?.argument).toMatchObject({ external: ['mails'] });
      expect(model.named('awaitDrained')[0]?.argument).toMatchObject({ stopped: ['mails'] });
    });
  });

  it('takes its group back at a rollback', async () => {
    await run(
      {
        ...withHooks([batch]),
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 2) await askRollback(handle, { reason: 'costs' });
        },
      },
      async (handle, model) => {
        expect((await handle.result()).phase).toBe('rolled-back');
        expect(story(model).slice(toOwlmq.length)).toEqual([
          'route: owlmq fence',
          'hook: hold-publishers',
          'route: owlmq fence drain',
          'hook: stop-consumers',
          'awaitDrained',
          'moveOffsets',
          'route: kafka',
          'hook: resume-on-kafka',
        ]);
        expect(hookCalls(model).slice(-2)).toMatchObject([
          { leg: 'owlmq', offsets: { orders: expect.any(Array) as unknown }, reason: 'rollback' },
          { leg: 'kafka', groups: ['mails'] },
        ]);
      },
    );
  });

  it('stops its group where it is when OwlMQ is dead', async () => {
    const model = newModel();
    await run(
      {
        ...withHooks([batch]),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm' || nth !== 2) return;
          model.owlmqAlive = false;
          await askRollback(handle, { reason: 'OwlMQ is gone' });
        },
      },
      async (handle) => {
        expect((await handle.result()).phase).toBe('rolled-back');
        const stop = hookCalls(model).at(-2);
        expect(stop).toMatchObject({ event: 'stop-consumers', leg: 'owlmq' });
        expect(stop?.offsets).toBeUndefined();
      },
    );
  });

  it('is tried again by itself where it fails under the fence of a rollback', async () => {
    let failures = 0;
    await run(
      {
        ...withHooks([batch]),
        before: async ({ activity, argument }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 2) await askRollback(handle, { reason: 'costs' });
          const { event, leg } = argument as CallHookRequest;
          if (activity !== 'callHook' || event !== 'stop-consumers' || leg !== 'owlmq' || failures === 3) return;
          failures += 1;
          throw refused();
        },
      },
      async (handle, model) => {
        expect((await handle.result()).phase).toBe('rolled-back');
        const stops = hookCalls(model).filter(({ event, leg }) => event === 'stop-consumers' && leg === 'owlmq');
        expect(stops).toHaveLength(4);
        // The same call, as far as its receiver is concerned.
        expect(new Set(stops.map(({ epoch, attempt }) => `${epoch} ${attempt}`)).size).toBe(1);
        expect(model.named('moveOffsets')).toHaveLength(2);
      },
    );
  });

  it('that accepts is waited for until somebody confirms it', async () => {
    const model = newModel();
    model.hookAnswer = { accepted: true, status: 202, attempts: 1 };
    await run(
      {
        ...withHooks([{ name: 'freeze', kind: 'webhook', at: ['before-cutover'], timeout: '8 hours' }]),
        model,
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'watchSoak') return;
          const { hooks } = await readStatus(handle);
          const last = hooks.at(-1);
          if (last?.state !== 'waiting' || last.answer !== 'HTTP 202') return;
          await confirm(handle, { name: 'freeze', event: 'before-cutover', reason: 'frozen' });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.hooks).toMatchObject([{ hook: 'freeze', state: 'done', by: 'ann', answer: 'frozen' }]);
      },
    );
  });

  it('stops writes to Kafka before the decommission, while Kafka stays a mirror', async () => {
    const late: Hooks[number] = {
      name: 'legacy',
      kind: 'confirmation',
      at: ['stop-kafka-writes'],
      timeout: '10 hours',
    };
    let slices = 0;
    await run(
      {
        ...withHooks([late]),
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'watchWarm') return;
          const { hooks } = await readStatus(handle);
          if (hooks.length === 0) return;
          slices += 1;
          if (slices === 3) await confirm(handle, { name: 'legacy', event: 'stop-kafka-writes' });
        },
      },
      async (handle, model) => {
        expect((await handle.result()).phase).toBe('completed');
        expect(slices).toBeGreaterThanOrEqual(3);
        expect(story(model).at(-1)).toBe('route: owlmq alone');
      },
    );
  });
});

describe('a confirmation', onSkippedTime, () => {
  it('is asked for when every check passes, and given by an update that only who waits for it takes', async () => {
    const refusals: string[] = [];
    const refusal = async (handle: Handle, input: Partial<ConfirmHookInput>): Promise<void> => {
      const error: unknown = await confirm(handle, input).catch((reason: unknown) => reason);
      if (!(error instanceof WorkflowUpdateFailedError)) throw new Error('it was taken', { cause: error });
      refusals.push(String(error.cause?.message));
    };
    let slices = 0;
    const event = 'before-cutover';
    await run(
      {
        ...withHooks([operator, batch]),
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'watchSoak') return;
          const { hooks } = await readStatus(handle);
          if (hooks.length === 0) {
            if (refusals.length === 0) await refusal(handle, { name: 'operator', event });
            return;
          }
          slices += 1;
          if (slices === 2) {
            await refusal(handle, { name: 'operator', event: 'hold-publishers' });
            await refusal(handle, { name: 'billing-batch', event });
            await refusal(handle, { name: 'operator', event, by: ' ' });
            await refusal(handle, { name: 'operator', event, ok: 'yes' as unknown as boolean });
            await refusal(handle, undefined as unknown as ConfirmHookInput);
          }
          if (slices === 3) expect(await confirm(handle, { name: 'operator', event })).toContain('taken');
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(slices).toBeGreaterThanOrEqual(3);
        expect(status.hooks[0]).toMatchObject({ hook: 'operator', kind: 'confirmation', state: 'done', by: 'ann' });
        // Everything is looked at again after hours.
        const confirmed = Date.parse(status.log.find(({ text }) => text.includes('done by ann'))?.at ?? '');
        expect(model.named('checkReadiness').some(({ at }) => at >= confirmed)).toBe(true);
        expect(story(model).slice(0, 2)).toEqual(toOwlmq.slice(0, 2));
      },
    );
    expect(refusals[0]).toContain('no such hook waits; none does');
    expect(refusals[1]).toContain('those that wait: {"name": "operator", "event": "before-cutover"}');
    expect(refusals[2]).toContain('no such hook waits');
    expect(refusals[3]).toContain('by must be text');
    expect(refusals[4]).toContain('ok must be true or false');
  });

  it('that is refused, or does not come, is no cutover: it is asked for again after the back-off', async () => {
    let asked = 0;
    await run(
      {
        ...withHooks([{ ...operator, timeout: '90 minutes' }]),
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'watchSoak') return;
          const { hooks } = await readStatus(handle);
          if (hooks.at(-1)?.state !== 'waiting' || hooks.length === asked) return;
          asked = hooks.length;
          if (asked === 1)
            await confirm(handle, { name: 'operator', event: 'before-cutover', ok: false, reason: 'not today' });
          if (asked === 3) await confirm(handle, { name: 'operator', event: 'before-cutover' });
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.hooks.map(({ state, answer }) => `${state}: ${answer ?? ''}`)).toEqual([
          'failed: not today',
          'timed-out: not confirmed within 5400 s',
          'done: ',
        ]);
        expect(status.cutover.attempts).toBe(3);
        expect(status.log.filter(({ text }) => text.startsWith('no cutover: hook operator'))).toHaveLength(2);
        const [, second, third] = status.hooks.map(({ since }) => Date.parse(since));
        expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(90 * 60_000 + 10 * 60_000);
        expect(model.routing.filter(({ fence }) => fence !== undefined).length).toBeGreaterThan(0);
      },
    );
  });
});

describe('hooks in the input', () => {
  const problems = (hooks: unknown, groups = ['payments', 'mails']): string[] => {
    try {
      parseMigrationInput({ topics: ['orders'], groups, hooks });
      return [];
    } catch (error) {
      return [...(error as { problems: string[] }).problems];
    }
  };

  it('are told all that is wrong with them', () => {
    expect(problems([batch, operator])).toEqual([]);
    expect(parseMigrationInput({ ...defaults, hooks: [operator] }).hooks[0]?.timeout).toBe(8 * HOUR);
    const told = problems([
      { name: 'a b', kind: 'telegram', at: ['at-noon'], timeout: 'soon', url: 'https://billing.example' },
      { name: 'empty', kind: 'webhook', at: [] },
    ]).join('\n');
    for (const part of ['hooks.0.name', 'hooks.0.kind', 'hooks.0.at', 'hooks.0.timeout', '"url"', 'hooks.1.at']) {
      expect(told).toContain(part);
    }
    expect(problems([{ ...batch, at: ['stop-consumers'] }])).toEqual([
      'hooks.0: stands for groups, so it must be called at resume-on-owlmq and resume-on-kafka too',
    ]);
    expect(problems([{ name: 'legacy', kind: 'webhook', at: ['hold-publishers'] }])).toEqual([
      'hooks.0: what it holds or stops must go on again: it must be called at resume-on-owlmq and resume-on-kafka too',
    ]);
    expect(problems([batch, { ...operator, name: batch.name }, { ...batch, name: 'other' }])).toEqual([
      'hooks.1: there is a hook billing-batch already',
      'hooks.2: another hook stands for mails already',
    ]);
    expect(problems([{ ...batch, groups: ['mials'] }])).toEqual([
      'hooks: stands for a group that is not one of groups',
    ]);
    expect(problems([{ ...batch, groups: ['payments', 'mails'] }]).join()).toContain('observation endpoint');
  });
});
