import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it, vi } from 'vitest';
import { parseMigrationInput, percent, planSteps, type MigrationInput } from '@owlmq/kafka-bridge/playbook';
import { newMigrationState, type CarriedOver } from '../../src/workflows/migration-state.js';
import {
  askRollback,
  defaults,
  inSoak,
  newModel,
  onSkippedTime,
  readStatus,
  routes,
  run,
  skip,
  untilEvent,
  untilStatus,
  usePlaybook,
} from './playbook-fixture.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

usePlaybook();

describe('the playbook with default durations', onSkippedTime, () => {
  it('runs from preflight to completed', async () => {
    await run({ record: 'default-durations' }, async (handle, model) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');

      const ratios = model.routing.slice(0, 11);
      expect(ratios.map(({ ratio }) => ratio)).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]);
      const times = model.named('applyRouting').map(({ at }) => at);
      for (let step = 2; step <= 10; step += 1) {
        const gap = (times[step] ?? 0) - (times[step - 1] ?? 0);
        expect(gap, `time before step ${step}`).toBeGreaterThanOrEqual(HOUR);
        expect(gap, `time before step ${step}`).toBeLessThan(HOUR + 60_000);
      }
      const soakStart = model.named('watchSoak')[0]?.at ?? 0;
      const fenced = model.calls.find(
        ({ activity, argument }) =>
          activity === 'applyRouting' && (argument as { fence?: unknown }).fence !== undefined,
      );
      expect((fenced?.at ?? 0) - soakStart).toBeGreaterThanOrEqual(48 * HOUR);
      expect((fenced?.at ?? 0) - soakStart).toBeLessThan(50 * HOUR);
      const warm = model.named('watchWarm');
      const decommissioned = model.named('applyRouting').at(-1);
      expect((decommissioned?.at ?? 0) - (warm[0]?.at ?? 0)).toBeGreaterThanOrEqual(14 * DAY);
      expect(routes(model).slice(11)).toEqual([
        '100% kafka observe',
        '100% kafka compare',
        '100% kafka compare fence',
        '100% kafka compare fence drain',
        '100% owlmq',
        '100% owlmq alone',
      ]);
      const epochs = model.routing.map(({ epoch }) => epoch);
      expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
      expect(new Set(epochs).size).toBe(epochs.length);

      // What is printed as the plan is what was run, in that order.
      const steps = planSteps(parseMigrationInput(defaults));
      const logged = status.log.flatMap(({ text }) => (text.startsWith('phase ') ? [text.slice(6)] : []));
      expect(['preflight', ...logged]).toEqual([...new Set(steps.map(({ phase }) => phase)), 'completed']);
      const raises = steps.filter(({ phase }) => phase === 'dual-write').map(({ step }) => step);
      expect(raises).toEqual(
        ratios.slice(1).map(({ ratio }) => `copy ${percent(ratio)} of messages to OwlMQ, then judge the step`),
      );

      const { events } = await handle.fetchHistory();
      console.info(`history events of a default-duration run: ${events?.length ?? 0}`);
      expect(events?.length ?? 0).toBeLessThan(2_000);
      expect(status.cutover.publisherHoldMs).toBe(120);
      expect(status.noise).toBeNull();
    });
  });

  it('waits for approval of the decommission by default, and goes on once it has it', async () => {
    const beyond = (nth: number) => nth > 60;
    await run(
      {
        input: defaults,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && beyond(nth)) await handle.signal('approve', { by: 'ann' });
        },
      },
      async (handle, model) => {
        expect((await handle.result()).phase).toBe('completed');
        expect(model.named('watchWarm').length).toBeGreaterThan(56);
        expect(routes(model).at(-1)).toBe('100% owlmq alone');
      },
    );
  });

  it('does not count paused time in the ramp', async () => {
    const pausedFor = 5 * HOUR;
    await run(
      {
        before: async ({ activity }, nth, handle) => {
          if (activity === 'auditToOwlmq' && nth === 3) await handle.signal('pause', 'lunch');
        },
      },
      async (handle, model) => {
        const status = await untilStatus(handle, ({ waiting }) => waiting?.for === 'the resume signal');
        expect(status.paused?.reason).toBe('lunch');
        const steps = model.routing.length;
        await skip(pausedFor);
        expect(model.routing.length).toBe(steps);
        await handle.signal('resume');
        expect((await handle.result()).phase).toBe('completed');
        const times = model.named('applyRouting').map(({ at }) => at);
        const gaps = times.slice(2, 11).map((at, index) => at - (times[index + 1] ?? 0));
        expect(Math.max(...gaps)).toBeGreaterThanOrEqual(HOUR + pausedFor);
      },
    );
  });

  it('restarts the soak clock at a discrepancy', async () => {
    const model = newModel();
    await run(
      {
        model,
        before: ({ activity }, nth) => {
          if (activity === 'watchSoak' && nth === 15) model.discrepancies = 1;
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.soak.restarts).toBe(1);
        expect(status.soak.lastDiscrepancy).toMatchObject({ verdict: 'different', fields: ['/total'] });
        const soaks = model.named('watchSoak');
        const fenced = model.named('applyRouting').find(({ argument }) => (argument as { fence?: unknown }).fence);
        expect((fenced?.at ?? 0) - (soaks[15]?.at ?? 0)).toBeGreaterThanOrEqual(48 * HOUR);
      },
    );
  });

  it('does not count time in which a side is silent', async () => {
    const model = newModel();
    await run(
      {
        model,
        before: ({ activity }, nth) => {
          if (activity !== 'watchSoak') return;
          model.stalled = nth >= 10 && nth < 20 ? ['shadow of payments is silent'] : [];
        },
      },
      async (handle) => {
        await handle.result();
        const soaks = model.named('watchSoak');
        const fenced = model.named('applyRouting').find(({ argument }) => (argument as { fence?: unknown }).fence);
        const total = (fenced?.at ?? 0) - (soaks[0]?.at ?? 0);
        const silent = (soaks[19]?.at ?? 0) - (soaks[9]?.at ?? 0);
        expect(silent).toBeGreaterThan(9 * HOUR);
        expect(total - silent).toBeGreaterThanOrEqual(48 * HOUR);
      },
    );
  });
});

describe('input and preflight', onSkippedTime, () => {
  it('refuses bad input with every problem at once', async () => {
    const input = {
      topics: [],
      groups: ['payments', 'payments'],
      ramp: { step: 0, interval: 'soon' },
      soak: { minComparisons: 0 },
      decomission: 'automatic',
    } as unknown as MigrationInput;
    await run({ input }, async (handle, model) => {
      const failure = await handle.result().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(WorkflowFailedError);
      const message = String((failure as WorkflowFailedError).cause?.message);
      for (const part of ['topics', 'groups', 'ramp.step', 'ramp.interval', 'soak.minComparisons', 'decomission']) {
        expect(message).toContain(part);
      }
      expect(model.calls).toEqual([]);
    });
  });

  it('fails on findings that other input cures, having changed nothing', async () => {
    const model = newModel();
    model.findings = [{ kind: 'input', what: 'Topic orders does not exist.', todo: 'Correct the name.' }];
    await run({ model }, async (handle) => {
      const failure = await handle.result().catch((error: unknown) => error);
      expect(String((failure as WorkflowFailedError).cause?.message)).toContain('Topic orders does not exist.');
      expect(model.calls.map(({ activity }) => activity)).toEqual(['preflight']);
    });
  });

  it('blocks on findings that people mend, and looks again on resume', async () => {
    const model = newModel();
    model.findings = [{ kind: 'state', what: 'Retention is too short.', todo: 'Raise retention.ms.' }];
    await run({ model }, async (handle) => {
      const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
      expect(status.blocked?.cause).toContain('Retention is too short.');
      expect(status.blocked?.todo).toContain('Raise retention.ms.');
      model.findings = [];
      await handle.signal('resume');
      expect((await handle.result()).phase).toBe('completed');
    });
  });
});

describe('a step that keeps failing', onSkippedTime, () => {
  it('blocks with its cause and goes on after resume', async () => {
    let broken = true;
    await run(
      {
        before: ({ activity }) => {
          if (activity === 'awaitConsumers' && broken) throw new Error('no consumer of payments reports');
        },
      },
      async (handle) => {
        const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
        expect(status.blocked).toMatchObject({ cause: 'no consumer of payments reports' });
        expect(status.phase).toBe('shadow-soak');
        broken = false;
        await handle.signal('resume');
        expect((await handle.result()).phase).toBe('completed');
      },
    );
  });
});

describe('cutover', onSkippedTime, () => {
  it('cancels when a step fails, goes back to ready, and tries again after the back-off', async () => {
    const model = newModel();
    let failures = 1;
    await run(
      {
        record: 'cutover-cancelled-once',
        model,
        before: async ({ activity, argument }, _nth, handle) => {
          const fencing = model.lastRouting?.fence !== undefined;
          if (activity === 'auditToOwlmq' && fencing && failures > 0 && (argument as { until?: unknown }).until) {
            failures -= 1;
            // Copies are proven beside the drain: either may be first.
            await vi.waitUntil(() => model.lastRouting?.drain !== undefined, { timeout: 10_000 });
            // OwlMQ does not come up with the copies for longer than the window.
            await skip(31_000);
            await untilStatus(handle, ({ cutover }) => cutover.lastCancel !== undefined, 0);
          }
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.cutover.attempts).toBe(2);
        expect(status.cutover.lastCancel?.reason).toContain('window');
        expect(routes(model).slice(13, 18)).toEqual([
          '100% kafka compare fence',
          '100% kafka compare fence drain',
          '100% kafka compare',
          '100% kafka compare fence',
          '100% kafka compare fence drain',
        ]);
      },
    );
  });

  it('waits for approval where it is asked for', async () => {
    const model = newModel();
    let waiting = 0;
    await run(
      {
        model,
        input: { ...defaults, cutover: { trigger: 'approval' }, decommission: 'automatic' },
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'checkReadiness') return;
          waiting += 1;
          expect(model.routing.some(({ fence }) => fence !== undefined)).toBe(false);
          // Of somebody who saw something else.
          if (waiting === 2) await handle.signal('approve', { by: 'bob', phase: 'warm' });
          if (waiting === 3) await handle.signal('approve', { by: 'ann', reason: 'change 7', phase: 'ready' });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(waiting).toBeGreaterThanOrEqual(3);
        const approvals = status.log.filter(({ text }) => text.includes('approv')).map(({ text }) => text);
        expect(approvals).toEqual([
          'approval by bob does not count: it was meant for another phase, and this is ready: look again.',
          'cutover approved by ann: change 7',
        ]);
      },
    );
  });
});

describe('rollback', onSkippedTime, () => {
  const early = ['dual-write', 'shadow-soak'] as const;
  for (const phase of early) {
    it(`from ${phase} stops copying and leaves consumers alone`, async () => {
      const trigger = phase === 'dual-write' ? 'auditToOwlmq' : 'watchSoak';
      await run(
        {
          record: `rollback-from-${phase}`,
          before: async ({ activity }, nth, handle) => {
            if (activity === trigger && nth === 3) await askRollback(handle, { reason: 'nerves', by: 'ann' });
          },
        },
        async (handle, model) => {
          const status = await handle.result();
          expect(status.phase).toBe('rolled-back');
          expect(status.rollback).toMatchObject({ reason: 'nerves', by: 'ann', from: phase });
          expect(routes(model).at(-1)).toBe('0% kafka');
          expect(model.named('moveOffsets')).toEqual([]);
        },
      );
    });
  }

  it('from inside the window, before the journal, cancels first', async () => {
    await run(
      {
        before: async ({ activity }, nth, handle) => {
          if (activity === 'moveOffsets' && nth === 1) await askRollback(handle, { reason: 'nerves' });
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(routes(model).slice(-3)).toEqual(['100% kafka compare fence drain', '100% kafka compare', '0% kafka']);
      },
    );
  });

  it('during a window that fails by itself goes back too', async () => {
    await run(
      {
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'moveOffsets' || nth !== 1) return;
          await askRollback(handle, { reason: 'nerves' });
          throw ApplicationFailure.nonRetryable('group payments has members', 'OffsetsRefused');
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(routes(model).at(-1)).toBe('0% kafka');
      },
    );
  });

  it('with OwlMQ dying after it was asked goes back by the last positions', async () => {
    const model = newModel();
    // As workers before this version do, and as histories have it.
    model.restored = undefined;
    await run(
      {
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 3) await askRollback(handle, { reason: 'costs' });
          if (activity === 'awaitDrained' && nth === 2) model.owlmqAlive = false;
          if (activity === 'auditToKafka' && !model.owlmqAlive) {
            throw ApplicationFailure.nonRetryable('OwlMQ does not answer', 'OwlmqUnreachable');
          }
        },
      },
      async (handle) => {
        expect((await handle.result()).phase).toBe('rolled-back');
        expect(model.named('restoreKafkaOffsets')).toHaveLength(1);
        expect(model.routing.at(-2)?.drain).toBe('stop');
      },
    );
  });

  it('from behind the journal goes back as from warm', async () => {
    const model = newModel();
    await run(
      {
        model,
        before: async ({ activity }, _nth, handle) => {
          if (activity === 'awaitPublishers' && model.lastRouting?.primary === 'owlmq' && !model.lastRouting.fence) {
            await askRollback(handle, { reason: 'nerves' });
          }
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(routes(model).slice(-4)).toEqual([
          '100% owlmq',
          '100% owlmq fence',
          '100% owlmq fence drain',
          '0% kafka',
        ]);
        expect(model.named('moveOffsets').at(-1)?.argument).toMatchObject({ direction: 'to-kafka' });
      },
    );
  });

  it('from warm repairs Kafka, moves positions back, and ignores a second signal', async () => {
    await run(
      {
        record: 'rollback-from-warm',
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 4) {
            await askRollback(handle, { reason: 'costs' });
            await handle.signal('rollback', { reason: 'second' });
          }
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(status.rollback?.reason).toBe('costs');
        expect(model.named('auditToKafka').at(-1)?.argument).toMatchObject({ toEnd: true });
        expect(routes(model).slice(-3)).toEqual(['100% owlmq fence', '100% owlmq fence drain', '0% kafka']);
      },
    );
  });

  it('works while paused, and while blocked', async () => {
    await run(
      {
        before: ({ activity }) => {
          if (activity === 'awaitConsumers') throw new Error('no consumer reports');
        },
      },
      async (handle, model) => {
        await untilStatus(handle, ({ blocked }) => blocked !== null);
        await handle.signal('pause');
        await handle.signal('rollback', 'nerves');
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(status.blocked).toBeNull();
        expect(routes(model).at(-1)).toBe('0% kafka');
      },
    );
  });

  it('with OwlMQ dead goes back by the last positions', async () => {
    const model = newModel();
    await run(
      {
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchWarm' && nth === 3) {
            model.owlmqAlive = false;
            await askRollback(handle, { reason: 'OwlMQ is gone' });
          }
        },
      },
      async (handle) => {
        expect(await handle.result()).toMatchObject({ phase: 'rolled-back', rollback: { redeliveriesAtMost: 12 } });
        expect(model.named('moveOffsets').length).toBe(1);
        expect(model.named('restoreKafkaOffsets')[0]?.argument).toMatchObject({
          fence: expect.anything() as unknown,
          groups: { payments: { orders: [7, 8] } },
        });
      },
    );
  });

  it('is refused once Kafka writes have ended', async () => {
    const model = newModel();
    await run(
      {
        model,
        before: async ({ activity }, _nth, handle) => {
          if (activity === 'awaitPublishers' && model.lastRouting?.mirror === false) {
            await handle.signal('rollback', { reason: 'too late' });
            await untilStatus(handle, ({ log }) => log.some(({ text }) => text.startsWith('rollback refused')), 0);
          }
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.log.some(({ text }) => text.startsWith('rollback refused'))).toBe(true);
      },
    );
  });

  it('is what a cancel of the workflow does before it ends as cancelled', async () => {
    await run(
      {
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchSoak' || nth !== 2) return;
          await handle.cancel();
          await untilEvent(handle, 'activityTaskCancelRequestedEventAttributes');
        },
      },
      async (handle, model) => {
        await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
        expect((await handle.describe()).status.name).toBe('CANCELLED');
        expect(routes(model).at(-1)).toBe('0% kafka');
      },
    );
  });
});

describe('a run that continues another', onSkippedTime, () => {
  /** As a run leaves it that continued as new in its warm period, with a day to go. */
  function warmState(): CarriedOver {
    const offsets = { orders: [5, 5] };
    return {
      plan: parseMigrationInput({ ...defaults, decommission: 'automatic' }),
      state: {
        ...newMigrationState('2026-01-01T00:00:00.000Z'),
        phase: 'warm',
        epoch: 20,
        routing: { ratio: 1, primary: 'owlmq', mirror: true, live: 'owlmq', shadow: 'off' },
        cutover: { attempts: 1, journaledAt: '2026-01-01T00:00:00.000Z', fences: { kafka: offsets, owlmq: offsets } },
        warm: { remainingMs: DAY, positions: null, positionsAt: null, rollbackBlockers: [] },
      },
    };
  }

  it('goes on where that one was, under higher epochs', async () => {
    await run({ carried: warmState() }, async (handle, model) => {
      expect((await handle.result()).phase).toBe('completed');
      expect(model.named('preflight')).toEqual([]);
      expect(routes(model)).toEqual(['100% owlmq alone']);
      expect(model.routing[0]?.epoch).toBe(21);
      const watches = model.named('watchWarm');
      expect((model.named('applyRouting')[0]?.at ?? 0) - (watches[0]?.at ?? 0)).toBeGreaterThanOrEqual(DAY);
    });
  });

  it('rolls back when that was asked in its last moments', async () => {
    const carried = warmState();
    carried.state.rollback = { reason: 'nerves', by: 'ann', at: '2026-01-01T00:00:00.000Z' };
    await run({ carried }, async (handle, model) => {
      const status = await handle.result();
      expect(status.phase).toBe('rolled-back');
      expect(routes(model)).toEqual(['100% owlmq fence', '100% owlmq fence drain', '0% kafka']);
    });
  });
});

/** What the Temporal UI asks a workflow for. */
interface Metadata {
  currentDetails: string;
  definition: Record<string, string | { name: string; description?: string }[]>;
}

describe('what people see', onSkippedTime, () => {
  it('names topics and groups in the memo, and in the current details what comes next', async () => {
    await run({}, async (handle) => {
      await untilStatus(handle, ({ ratio }) => ratio.acknowledged === 0.2);
      expect((await handle.describe()).memo).toEqual(defaults);
      const { currentDetails, definition } = await handle.query<Metadata>('__temporal_workflow_metadata');
      expect(currentDetails).toContain('**dual-write** since');
      expect(currentDetails).toContain('- next: raise the ratio to 30% when this step has passed');
      const handlers = Object.values(definition).flatMap((of) => (Array.isArray(of) ? of : []));
      expect(handlers.length).toBeGreaterThan(10);
      expect(handlers.filter(({ name, description }) => !name.startsWith('__') && !description)).toEqual([]);
      await handle.signal('rollback', { by: 'ann' });
      await handle.result();
    });
  });

  it('names them for the run that continues another one, too, which inherits no memo', async () => {
    await run({ carried: inSoak(defaults) }, async (handle) => {
      await untilStatus(handle, ({ phase }) => phase === 'shadow-soak');
      expect((await handle.describe()).memo).toEqual(defaults);
      await handle.signal('rollback', { by: 'ann' });
      await handle.result();
    });
  });
});

describe('what people send', onSkippedTime, () => {
  it('takes a ratio that is asked for while the last step is judged', async () => {
    await run(
      {
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'auditToOwlmq') return;
          const { ratio, log } = await readStatus(handle);
          if (ratio.acknowledged !== 1 || log.some(({ text }) => text.includes('asked by'))) return;
          await handle.executeUpdate('setRatio', { args: [{ ratio: 0.5 }] });
        },
      },
      async (handle, model) => {
        expect((await handle.result()).phase).toBe('completed');
        expect(model.routing.slice(9, 17).map(({ ratio }) => ratio)).toEqual([0.9, 1, 0.5, 0.6, 0.7, 0.8, 0.9, 1]);
      },
    );
  });

  it('shows an unknown signal in the status, and refuses an update that makes no sense', async () => {
    await run({}, async (handle) => {
      await untilStatus(handle, ({ phase }) => phase === 'dual-write');
      await handle.signal('rolback', { by: 'ann', reason: 'in a hurry' });
      const status = await untilStatus(handle, ({ unknownSignals }) => unknownSignals.length > 0);
      expect(status.unknownSignals).toEqual(['rolback']);
      expect(status.asked).toMatchObject([{ what: 'rolback', by: 'ann', reason: 'in a hurry' }]);
      const update = (name: string, argument: unknown) =>
        handle.executeUpdate<string, [unknown]>(name, { args: [argument] });
      await expect(update('resumeMigration', {})).rejects.toThrow(WorkflowUpdateFailedError);
      await expect(update('setRatio', { ratio: 2 })).rejects.toThrow(WorkflowUpdateFailedError);
      expect(await update('setRatio', { ratio: 0.7 })).toContain('0.7');
      await untilStatus(handle, ({ ratio }) => ratio.acknowledged === 0.7);
      await handle.signal('rollback');
      const { phase, asked } = await handle.result();
      expect(phase).toBe('rolled-back');
      // What was refused is not taken.
      expect(asked.map(({ what }) => what)).toEqual(['rolback', 'setRatio', 'rollback']);
    });
  });
});
