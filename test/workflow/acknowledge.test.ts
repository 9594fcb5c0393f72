import { WorkflowUpdateFailedError } from '@temporalio/client';
import { expect, it } from 'vitest';
import type { DiagnosisReport, WatchSoakRequest } from '../../src/activities/migration-activities.js';
import { acknowledge, type AcknowledgeInput } from '../../src/workflows/acknowledgements.js';
import { acknowledgeUpdate, revokeUpdate } from '../../src/workflows/messages.js';
import {
  defaults,
  type Handle,
  inSoak,
  newModel,
  onSkippedTime,
  readStatus,
  run,
  usePlaybook,
} from './playbook-fixture.js';

usePlaybook();

const known: AcknowledgeInput = {
  group: 'payments',
  verdict: 'different',
  topic: 'orders',
  fields: ['/total'],
  reason: 'rounds to cents on purpose',
  by: 'ann',
};

const diagnosis: DiagnosisReport = {
  diagnoses: [
    {
      ...{ group: 'payments', verdicts: ['different'], id: 'id-1', what: 'Outputs differ in /total.', evidence: [] },
      ...{ todo: 'Look.', next: 'kafka-bridge discrepancies show --migration m id-1' },
    },
  ],
  notLooked: [],
};

async function ask(handle: Handle, change: Record<string, unknown> = {}): Promise<string> {
  return await handle.executeUpdate(acknowledgeUpdate, { args: [{ ...known, ...change }] });
}

async function refusal(attempt: Promise<string>): Promise<string> {
  const error = await attempt.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  return String((error as WorkflowUpdateFailedError).cause?.message);
}

it('counts acknowledged discrepancies apart until that is revoked', onSkippedTime, async () => {
  const model = newModel();
  const patterns = (nth: number) => (model.named('watchSoak')[nth - 1]?.argument as WatchSoakRequest).acknowledged;
  await run(
    {
      model,
      before: async ({ activity }, nth, handle) => {
        if (activity !== 'watchSoak') return;
        if (nth === 5) {
          model.discrepancies = 1;
          model.told = { diagnosis, notStored: 'no right to write' };
        }
        if (nth === 6) model.told = {};
        if (nth === 6 || nth === 8) {
          const { soak } = await readStatus(handle);
          expect(soak.diagnosis).toMatchObject(diagnosis);
          expect(soak.notStored).toBe(nth === 6 ? 'no right to write' : null);
        }
        if (nth === 8) {
          expect((await readStatus(handle)).soak.restarts).toBe(1);
          expect(await ask(handle)).toContain('ack-1');
        }
        // Known from here on: counted apart, the clock goes on.
        if (nth === 10) model.acknowledgedDiscrepancies = 3;
        if (nth === 15) {
          await handle.executeUpdate(revokeUpdate, { args: [{ id: 'ack-1', reason: 'mended', by: 'bob' }] });
        }
        if (nth === 18) model.discrepancies = 2;
      },
    },
    async (handle) => {
      const status = await handle.result();
      expect(status.phase).toBe('completed');
      expect(status.soak.restarts).toBe(2);
      const { reason, by, ...pattern } = known;
      expect(status.soak.acknowledgements).toMatchObject([
        { id: 'ack-1', pattern, reason, by, revoked: { reason: 'mended', by: 'bob' } },
      ]);
      expect(status.groupVerdicts['payments']).toMatchObject({ acknowledged: 3, discrepancies: 2 });
      expect(patterns(8)).toEqual([]);
      expect(patterns(10)).toEqual([pattern]);
      expect(patterns(17)).toEqual([]);
      expect(status.log.map(({ text }) => text).join('\n')).toMatch(
        /ack-1: ann acknowledges.*\/total[^]*ack-1 revoked by bob/,
      );
    },
  );
});

it('refuses what is incomplete, unknown or too late, with every problem at once', onSkippedTime, async () => {
  let asked = false;
  await run(
    {
      before: async ({ activity }, _nth, handle) => {
        if (activity !== 'watchSoak' || asked) return;
        asked = true;
        const said = await refusal(
          ask(handle, { group: 'other', verdict: 'matched', topic: 'x', fields: ['total'], by: '', fieldz: 1 }),
        );
        for (const part of ['group must', 'verdict must', 'topic must', 'fields must', 'by must', 'fieldz']) {
          expect(said).toContain(part);
        }
        expect(await refusal(ask(handle, { verdict: 'missing' }))).toContain('fields are told of');
        const unknown = handle.executeUpdate(revokeUpdate, { args: [{ id: 'ack-9', reason: 'x', by: 'ann' }] });
        expect(await refusal(unknown)).toContain('none is');
      },
    },
    async (handle, model) => {
      expect((await handle.result()).soak.acknowledgements).toEqual([]);
      expect(model.named('watchSoak').length).toBeGreaterThan(0);
    },
  );
});

it('goes on with what a run before had acknowledged, and numbers on from there', onSkippedTime, async () => {
  const carried = inSoak({ ...defaults, decommission: 'automatic' });
  const { reason, by, ...pattern } = known;
  acknowledge(carried.state, known, '2026-01-01T00:00:00.000Z');
  await run(
    {
      carried,
      before: async ({ activity, argument }, nth, handle) => {
        if (activity !== 'watchSoak' || nth !== 1) return;
        expect((argument as WatchSoakRequest).acknowledged).toEqual([pattern]);
        expect(await ask(handle, { verdict: 'missing', fields: undefined })).toContain('ack-2');
      },
    },
    async (handle) => {
      const { soak } = await handle.result();
      expect(soak.acknowledgements).toMatchObject([{ id: 'ack-1', pattern, reason, by }, { id: 'ack-2' }]);
    },
  );
});
