import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { type MigrationInput, parseMigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { WayBackCheck } from '../../src/activities/migration-activities.js';
import { newMigrationState, type CarriedOver } from '../../src/workflows/migration-state.js';
import {
  askRollback,
  defaults,
  newModel,
  onSkippedTime,
  readStatus,
  routes,
  run,
  untilEvent,
  untilStatus,
  usePlaybook,
} from './playbook-fixture.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

usePlaybook();

type Finding = Pick<WayBackCheck, 'name' | 'ok' | 'takes'>;
const kafkaIsDead: Finding[] = [{ name: 'Kafka takes writes', ok: false, takes: 'repair' }];
const kafkaLacks: Finding[] = [{ name: 'Kafka has everything', ok: false, takes: 'force' }];
const allWell: Finding[] = [{ name: 'Kafka takes writes', ok: true, takes: 'repair' }];

const automatic: MigrationInput = { ...defaults, decommission: 'automatic' };

/** As a run leaves it that continued as new in its warm period. */
function warm(input: MigrationInput = automatic, remainingMs = 14 * DAY): CarriedOver {
  const offsets = { orders: [5, 5] };
  return {
    plan: parseMigrationInput(input),
    state: {
      ...newMigrationState('2026-01-01T00:00:00.000Z'),
      phase: 'warm',
      epoch: 20,
      partitions: { orders: 2 },
      routing: { ratio: 1, primary: 'owlmq', mirror: true, live: 'owlmq', shadow: 'off' },
      cutover: { attempts: 1, journaledAt: '2026-01-01T00:00:00.000Z', fences: { kafka: offsets, owlmq: offsets } },
      warm: { remainingMs, positions: null, positionsAt: null, rollbackBlockers: [] },
    },
  };
}

/** As one leaves it whose publishers have not been told yet that OwlMQ is primary. */
function behindTheJournal(): CarriedOver {
  const { plan, state } = warm({ ...automatic, warm: { duration: '1 day' } });
  delete state.warm;
  return { plan, state: { ...state, phase: 'cutover' } };
}

/** The same after a clean soak. */
function ready(cutover: MigrationInput['cutover'] = {}): CarriedOver {
  const plan = parseMigrationInput({ ...automatic, cutover });
  return {
    plan,
    state: {
      ...newMigrationState('2026-01-01T00:00:00.000Z'),
      phase: 'ready',
      epoch: 14,
      partitions: { orders: 2 },
      coverage: { orders: [0, 0] },
      routing: { ratio: 1, primary: 'kafka', mirror: true, live: 'kafka', shadow: 'compare', shadowFrom: {} },
      ratio: { wanted: 1, acknowledged: 1, settled: true },
      auditFrom: { orders: [0, 0] },
      soak: {
        ...{ cleanMs: 49 * HOUR, restarts: 0, missing: [] },
        groups: Object.fromEntries(
          ['payments', 'mails'].map((group) => [
            group,
            { comparedUpTo: 1, matched: 2_000, discrepancies: 0, comparisons: 2_000 },
          ]),
        ),
      },
    },
  };
}

describe('the way back', onSkippedTime, () => {
  it('is rehearsed once a day while Kafka is kept warm', async () => {
    await run({ carried: warm() }, async (handle, model) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');
      const times = model.named('proveWayBack').map(({ at }) => at);
      expect(times.length).toBeGreaterThanOrEqual(14);
      expect(times.length).toBeLessThanOrEqual(15);
      const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(DAY);
      expect(status.warm?.rehearsals.at(-1)).toMatchObject({ owlmqAnswers: true });
    });
  });

  it('refuses a rollback to a Kafka that takes no writes, and the playbook goes on where it was', async () => {
    const model = newModel();
    await run(
      {
        carried: warm(automatic, 3 * DAY),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm' || nth !== 2) return;
          model.wayBack = kafkaIsDead;
          await askRollback(handle, { reason: 'nerves', by: 'ann' });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(status.rollback).toBeNull();
        expect(status.rollbackRefused).toMatchObject({ by: 'ann', failed: [{ name: 'Kafka takes writes' }] });
        expect(model.routing.some(({ fence }) => fence !== undefined)).toBe(false);
        const phases = status.log.flatMap(({ text }) => (text.startsWith('phase ') ? [text.slice(6)] : []));
        expect(phases).toEqual(['rolling-back', 'warm', 'decommission', 'completed']);
        // All of the warm period was kept.
        const [first, last] = [model.calls[0]?.at ?? 0, model.named('applyRouting')[0]?.at ?? 0];
        expect(last - first).toBeGreaterThanOrEqual(3 * DAY);
      },
    );
  });

  it('takes the rollback that is asked for again once all is mended', async () => {
    const model = newModel();
    await run(
      {
        carried: warm(),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm') return;
          if (nth === 2) {
            model.wayBack = kafkaIsDead;
            await askRollback(handle, { reason: 'first' });
          } else if (nth === 4) {
            model.wayBack = allWell;
            await askRollback(handle, { reason: 'second' });
          }
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'rolled-back', rollback: { reason: 'second' }, rollbackRefused: null });
        expect(status.rollback?.checks).toMatchObject([{ name: 'Kafka takes writes', ok: true }]);
      },
    );
  });

  it('loses messages by force alone, and says how many at the most', async () => {
    const model = newModel();
    model.owlmqAlive = false;
    model.lossAtMost = 7;
    await run(
      {
        carried: warm(),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm') return;
          model.wayBack = kafkaLacks;
          if (nth === 2) await askRollback(handle, { reason: 'first' });
          if (nth !== 4) return;
          expect((await readStatus(handle)).rollbackRefused).toMatchObject({ lossAtMost: 7 });
          await askRollback(handle, { reason: 'second', force: true });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'rolled-back', rollback: { force: true, lossAtMost: 7 } });
        expect(model.named('restoreKafkaOffsets')).toHaveLength(1);
      },
    );
  });

  it('is waited for when the workflow was cancelled, which has nowhere to go on', async () => {
    const model = newModel();
    await run(
      {
        carried: warm(),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm' || nth !== 1) return;
          model.wayBack = kafkaIsDead;
          await handle.cancel();
          await untilEvent(handle, 'activityTaskCancelRequestedEventAttributes');
        },
      },
      async (handle) => {
        const { blocked } = await untilStatus(handle, (status) => status.blocked !== null, 0);
        expect(blocked).toMatchObject({ step: 'the way back', cause: 'Kafka takes writes: Kafka takes writes' });
        model.wayBack = allWell;
        await handle.signal('resume');
        await expect(handle.result()).rejects.toThrow();
        expect(routes(model).at(-1)).toBe('0% kafka');
      },
    );
  });

  it('that is refused behind the journal lets the cutover roll forward', async () => {
    const model = newModel();
    await run(
      {
        carried: behindTheJournal(),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'awaitPublishers' || nth !== 1) return;
          model.wayBack = kafkaIsDead;
          await askRollback(handle, { reason: 'nerves' });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'completed', cutover: { attempts: 1 } });
        expect(status.cutover.verification).toHaveLength(4);
        expect(model.routing.some(({ fence }) => fence !== undefined)).toBe(false);
      },
    );
  });

  it('is not taken without a word where OwlMQ dies while publishers are held, and Kafka lacks messages', async () => {
    const model = newModel();
    const carried = warm();
    if (carried.state.warm !== undefined)
      carried.state.warm.mirror = { incomplete: true, unproven: 5, acknowledged: 0 };
    const blocked: string[] = [];
    await run(
      {
        carried,
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'proveWayBack' && nth === 2) model.owlmqAlive = true;
          if (activity === 'awaitPublishers' && nth === 1) model.owlmqAlive = false;
          if (activity === 'auditToKafka') throw ApplicationFailure.nonRetryable('OwlMQ does not answer');
          if (activity === 'watchWarm' && nth === 2) await askRollback(handle, { reason: 'nerves' });
          if (activity !== 'proveLeg') return;
          const status = await readStatus(handle);
          blocked.push(...status.log.flatMap(({ text }) => (text.startsWith('blocked in "what') ? [text] : [])));
          if (blocked.length > 0) await handle.signal('rollback', { reason: 'we accept it', force: true });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status).toMatchObject({
          phase: 'rolled-back',
          rollback: { force: true, lossAtMost: model.messages + 5 },
        });
        expect(blocked[0]).toContain(`Kafka lacks at most ${model.messages + 5} acknowledged messages`);
      },
    );
  });

  it('that is lost calls attention, and says since when, until it is there again', async () => {
    const model = newModel();
    const seen: (string | null)[] = [];
    await run(
      {
        carried: warm(automatic, 2 * DAY),
        model,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm') return;
          model.rollbackBlockers = nth === 2 || nth === 3 ? ['publisher p1 does not reach Kafka'] : [];
          const { warm: kept, attention } = await readStatus(handle);
          expect(attention?.what.includes('publisher p1') ?? false).toBe(kept?.unavailableSince !== null);
          seen.push(kept?.unavailableSince ?? null);
        },
      },
      async (handle) => {
        expect((await handle.result()).phase).toBe('completed');
        expect(seen.map((since) => since !== null).slice(0, 6)).toEqual([false, false, true, true, false, false]);
        // From one report to the next it is the same trouble.
        expect(seen[2]).toBe(seen[3]);
      },
    );
  });
});

describe('the warm period', onSkippedTime, () => {
  it('is made longer, and ended, by updates that say no where they make no sense', async () => {
    const update = async (handle: Parameters<Parameters<typeof run>[1]>[0], name: string, argument: unknown) => {
      try {
        return await handle.executeUpdate<string, [unknown]>(name, { args: [argument] });
      } catch (error) {
        return String((error as Error).cause);
      }
    };
    const answers: string[] = [];
    await run(
      {
        carried: warm(automatic, 2 * DAY),
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchWarm') return;
          if (nth === 2) {
            answers.push(await update(handle, 'extend', { duration: 'a while' }));
            answers.push(await update(handle, 'extend', { duration: '2 days', by: 'ann', reason: 'holidays' }));
          }
          if (nth === 14) answers.push(await update(handle, 'endEarly', { by: 'ben' }));
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect(answers[0]).toContain('duration must be a time');
        expect(answers[1]).toContain('taken; ');
        expect(answers[2]).toContain('decommission is next');
        const watched = (model.named('applyRouting')[0]?.at ?? 0) - (model.calls[0]?.at ?? 0);
        expect(watched).toBeGreaterThan(3 * DAY);
        expect(watched).toBeLessThan(4 * DAY);
        const texts = status.log.map(({ text }) => text);
        expect(texts.some((text) => text.startsWith('warm period made longer by ann'))).toBe(true);
        expect(texts.some((text) => text.startsWith('warm period ended by ben'))).toBe(true);
      },
    );
  });

  it('goes on when it is made longer while the decommission waits, and needs another approval', async () => {
    await run(
      {
        carried: warm(defaults, HOUR),
        before: async ({ activity }, _nth, handle) => {
          if (activity !== 'watchWarm') return;
          const { phase, log } = await readStatus(handle);
          const extended = log.some(({ text }) => text.startsWith('warm period made longer'));
          if (phase !== 'decommission') return;
          if (extended) await handle.signal('approve', { by: 'ann' });
          else await handle.executeUpdate('extend', { args: [{ duration: '1 day' }] });
        },
      },
      async (handle, model) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        expect((model.named('applyRouting')[0]?.at ?? 0) - (model.calls[0]?.at ?? 0)).toBeGreaterThan(DAY);
        expect(status.leftovers.map(({ command }) => command).join('\n')).toContain('--delete --topic orders');
      },
    );
  });
});

describe('readiness', onSkippedTime, () => {
  it('waits for the allowed hours without looking each minute, and is told as a check', async () => {
    const model = newModel();
    let opensAt = 0;
    await run(
      {
        carried: ready({ hours: { from: '02:00', to: '05:00', timeZone: 'Europe/Berlin' } }),
        model,
        before: async ({ activity, at, argument }) => {
          if (activity !== 'checkReadiness') return;
          expect(argument).toMatchObject({ hours: { from: '02:00', timeZone: 'Europe/Berlin' }, windowMs: 30_000 });
          opensAt ||= at + 9 * HOUR;
          const again = new Date(opensAt).toISOString();
          model.readiness =
            at < opensAt ? [{ name: 'allowed hours', ok: false, detail: 'later', todo: 'Wait.', again }] : [];
          await Promise.resolve();
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('completed');
        const fenced = model.calls.find(
          ({ activity, argument }) =>
            activity === 'applyRouting' && (argument as { fence?: unknown }).fence !== undefined,
        );
        expect((fenced?.at ?? 0) - opensAt).toBeGreaterThanOrEqual(0);
        expect((fenced?.at ?? 0) - opensAt).toBeLessThan(60_000);
        expect(model.named('checkReadiness').length).toBeLessThan(20);
        expect(status.readiness.map(({ name }) => name)).toEqual(
          expect.arrayContaining(['ratio acknowledged', 'coverage complete', 'soak clean', 'still compared']),
        );
      },
    );
  });

  it('goes on comparing in the back-off after a cancelled window, and says how long publishers were held', async () => {
    const model = newModel();
    await run(
      {
        carried: ready({ backOff: '1 hour' }),
        model,
        before: ({ activity }, nth) => {
          if (activity !== 'moveOffsets' || nth !== 1) return;
          throw ApplicationFailure.nonRetryable('group payments has members', 'OffsetsRefused');
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'completed', cutover: { attempts: 2 } });
        expect(status.cutover.lastCancel).toMatchObject({ publisherHoldMs: 120, errors: [] });
        expect(status.cutover.verification?.map(({ name }) => name)).toEqual([
          'publishers',
          'group payments',
          'group mails',
          'canary',
        ]);
        const moves = model.named('moveOffsets').map(({ at }) => at);
        const compared = model.named('watchSoak').filter(({ at }) => at > (moves[0] ?? 0) && at < (moves[1] ?? 0));
        expect(compared.length).toBeGreaterThan(0);
        expect((moves[1] ?? 0) - (moves[0] ?? 0)).toBeGreaterThanOrEqual(HOUR);
      },
    );
  });
});
