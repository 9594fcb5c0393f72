import { WorkflowUpdateFailedError } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import type { MigrationInput } from '@owlmq/kafka-bridge/playbook';
import type { WatchSoakRequest } from '../../src/activities/migration-activities.js';
import type { FleetModel } from '../../rehearsal/fleet-model.js';
import {
  askRollback,
  defaults,
  newModel,
  onSkippedTime,
  routes,
  run,
  untilStatus,
  usePlaybook,
  type Handle,
} from './playbook-fixture.js';

const input: MigrationInput = {
  ...defaults,
  noise: { duration: '30 minutes', minComparisons: 25_000 },
  ramp: { step: 1 },
  decommission: 'automatic',
};
const noisy = { fields: { '/at': 31, '/lines/0/id': 900, '/lines/1/id': 800 }, counts: { different: 900 } };
const measured = ['0% kafka noise', '0% kafka noise', '0% kafka'];

usePlaybook();

function requests(model: FleetModel): WatchSoakRequest[] {
  return model.named('watchSoak').map(({ argument }) => argument as WatchSoakRequest);
}

/** Takes the run back once the ramp has begun, so that a test need not wait for its end. */
function endInRamp(model: FleetModel, handle: Handle, activity: string): Promise<void> | undefined {
  const begun = model.lastRouting?.ratio !== 0;
  return begun && activity === 'auditToOwlmq' ? askRollback(handle, { reason: 'seen enough' }) : undefined;
}

describe('noise before the ramp', onSkippedTime, () => {
  it('lasts until it is long and often enough, waits for a word on what it finds, and leaves the soak nothing', async () => {
    const model = newModel();
    model.noise = noisy;
    let early: unknown;
    await run(
      {
        record: 'noise-approved',
        model,
        input,
        before: async ({ activity }, nth, handle) => {
          if (activity !== 'watchSoak') return;
          if (nth === 3) {
            await handle.signal('approve', { by: 'bob' });
            early = await handle.executeUpdate('approveMigration').catch((error: unknown) => error);
          }
          if (nth === 23) await askRollback(handle, { reason: 'seen enough' });
        },
      },
      async (handle) => {
        await untilStatus(handle, ({ blocked }) => blocked !== null);
        expect(early).toBeInstanceOf(WorkflowUpdateFailedError);
        expect(String((early as WorkflowUpdateFailedError).cause?.message)).toContain('noise is being measured');
        expect(await handle.executeUpdate('approveMigration', { args: [{ by: 'ann' }] })).toContain('taken');
        const status = await handle.result();
        expect(status).toMatchObject({ phase: 'rolled-back', blocked: null, soak: { restarts: 0 } });
        expect(status.noise).toMatchObject({ measurements: 1, remaining: [], approved: true });
        expect(status.noise?.measuredMs).toBeGreaterThanOrEqual(1_800_000);
        const log = status.log.map(({ text }) => text);
        expect(log.find((text) => text.startsWith('approval by bob does not count'))).toBeDefined();
        expect(log.find((text) => text.startsWith('goes on with noise: group payments differs'))).toBeDefined();
        // The cutover's is another word.
        expect(log).not.toContain('cutover approved by ann');

        expect(routes(model).slice(0, 5)).toEqual([...measured, '0% kafka', '100% kafka']);
        const [first, second, third] = model.routing;
        const from = [first, second, third].map((state) => state?.shadowFrom);
        expect(from).toEqual([undefined, { orders: [0, 0] }, undefined]);
        const all = requests(model);
        const soak = all.filter(({ countFields }) => countFields !== true);
        expect(all.length - soak.length).toBe(20);
        expect(all[0]).toMatchObject({
          endAtDiscrepancy: false,
          latenessMs: 60_000,
          start: [0, 0, 0, 0],
          sliceMs: 90_000,
        });
        expect(all[0]).toMatchObject({ from: { orders: [0, 0] }, quietMs: 15_000 });
        expect(soak[0]?.comparison).toBeUndefined();
      },
    );
  });

  it('blocks on what it finds, is measured again on resume, and then goes on', async () => {
    const model = newModel();
    model.noise = noisy;
    await run(
      { model, input, before: ({ activity }, _nth, handle) => endInRamp(model, handle, activity) },
      async (handle) => {
        const status = await untilStatus(handle, ({ blocked }) => blocked !== null);
        expect(status.phase).toBe('noise');
        expect(status.blocked?.cause).toContain(
          'group payments differs from itself in /lines/*/id (900 of 200,900), /at (31 of 200,900)',
        );
        expect(status.blocked?.todo).toContain("add `ignore: ['/lines/*/id', '/at']` to its DualConsumer");
        expect(status.noise?.groups['mails']).toMatchObject({ ignore: ['/lines/*/id', '/at'], different: 900 });
        // Nobody runs twice while a person is waited for.
        expect(routes(model)).toEqual(measured);
        model.noise = { counts: { ignored: 12 } };
        await handle.signal('resume', { by: 'ann' });
        const gone = await handle.result();
        expect(gone.noise).toMatchObject({ measurements: 2, approved: false });
        const said = gone.log.map(({ text }) => text).find((text) => text.startsWith('handlers are deterministic'));
        expect(said).toContain('comparisons, 12 of them equal but for what is ignored');
        expect(routes(model).slice(0, 8)).toEqual([...measured, ...measured, '0% kafka', '100% kafka']);
        const again = requests(model)[20];
        expect(again).toMatchObject({ countFields: true, start: [0, 0, 0, 0], from: model.routing[4]?.shadowFrom });
        expect(again?.from['orders']?.[0]).toBeGreaterThan(0);
        expect(again?.comparison).toBeUndefined();
      },
    );
  });

  it('waits for messages as long as nobody goes on without, and not in a pause', async () => {
    const model = newModel();
    model.stalled = ['Group mails: nothing was compared for 15 s.'];
    await run(
      {
        model,
        input,
        before: async ({ activity }, nth, handle) => {
          if (activity === 'watchSoak' && nth === 3) await handle.signal('pause', 'lunch');
          if (activity === 'watchSoak' && nth === 40) await handle.signal('approve', { by: 'ann' });
          await endInRamp(model, handle, activity);
        },
      },
      async (handle) => {
        const paused = await untilStatus(handle, ({ waiting }) => waiting?.for === 'the resume signal');
        expect(paused.noise).toMatchObject({ measuredMs: 0, inconclusive: model.stalled });
        const before = model.named('watchSoak').length;
        await handle.signal('resume');
        const status = await handle.result();
        expect(requests(model)[before]).toMatchObject({ interrupted: true });
        expect(status.noise).toMatchObject({ measuredMs: 0, approved: true });
        expect(status.log.some(({ text }) => text.startsWith('goes on without a whole measurement of noise'))).toBe(
          true,
        );
      },
    );
  });

  it('begins anew where the comparison is lost, and is given up by a rollback, which stops the shadows', async () => {
    const model = newModel();
    await run(
      {
        model,
        input,
        before: async ({ activity }, nth, handle) => {
          model.lost = activity === 'watchSoak' && nth === 2 ? 'retention took 3 observations' : undefined;
          if (activity === 'watchSoak' && nth === 4) await askRollback(handle, { reason: 'nerves', by: 'ann' });
        },
      },
      async (handle) => {
        const status = await handle.result();
        expect(status.phase).toBe('rolled-back');
        expect(status.rollback).toMatchObject({ reason: 'nerves', from: 'noise' });
        expect(status.noise).toMatchObject({ measurements: 2 });
        expect(requests(model)[2]?.comparison).toBeUndefined();
        expect(routes(model)).toEqual([...new Array<string>(4).fill('0% kafka noise'), '0% kafka']);
        // Shadows stop before they begin again.
        expect(model.routing.map(({ shadowFrom }) => shadowFrom === undefined)).toEqual([
          ...[true, false, true, false, true],
        ]);
        expect(model.lastRouting).toMatchObject({ shadow: 'off', ratio: 0 });
      },
    );
  });
});
